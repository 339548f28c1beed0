"""Has an optimiser's step follow the mean loss over all its items, whatever batches and processes they came in."""

import math

from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines.utils import IterationEvents
from torch.nn.parallel import DistributedDataParallel

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.training.distributed import gathered, total
from radseg.pipelines.training.divergence import divergence
from radseg.pipelines.training.joint_loss import joint_parts
from radseg.pipelines.training.shard_sampler import ShardSampler


class StepLoss:
    r"""Weighs each batch by its items, and gives all processes one loss.

    A step of the optimiser is taken after :math:`A` batches (MONAI's `accumulation_steps`) on each of :math:`R`
    processes. MONAI takes the mean of the batches and `DistributedDataParallel` that of the processes, which isn't
    that of the items where the last batch is smaller or the last group has fewer than :math:`A` batches. With
    :math:`n_b` items in batch :math:`b` and :math:`N` in the step, the loss that is differentiated is

    .. math:: L_b' = \frac{A R\, n_b}{N} L_b

    so that the step is that of one batch of :math:`N` items, for losses that are a mean over items and, as long as
    :math:`A` is 1, for those that `joint_loss` gives. The loss that other handlers see is the mean over the processes'
    batches. Gradients are exchanged once a step. A loss that isn't finite ends the training with the names of the
    batch's images (`EpochDataset.name_of`).

    Args:
        loader: of the training batches, with a `ShardSampler`.
    """

    def __init__(self, loader: DataLoader) -> None:
        if not isinstance(loader.sampler, ShardSampler) or loader.sampler.batch_size != loader.batch_size:
            raise ConfigError("StepLoss: the data loader needs a ShardSampler with the loader's batch_size")
        if loader.persistent_workers:
            raise ConfigError(
                "StepLoss: persistent_workers would repeat the first epoch's augmentation in all others; leave it off"
            )
        self.sampler: ShardSampler = loader.sampler
        self._loss = 0.0

    def attach(self, engine: Engine) -> None:
        """Follows the trainer `engine`; attach it before handlers that look at the loss."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._exchange_at_the_end)
        engine.add_event_handler(Events.ITERATION_STARTED, self._say_whether_items_count)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._weigh)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._share)

    def _exchange_at_the_end(self, engine: Engine) -> None:
        if isinstance(engine.network, DistributedDataParallel):
            engine.network.require_backward_grad_sync = ends_a_step(engine)  # what its `no_sync()` sets

    def _say_whether_items_count(self, engine: Engine) -> None:
        mine = self.sampler.counts(_position(engine))[self.sampler.rank]
        for part in joint_parts(getattr(engine, "segmentation_loss", engine.loss_function)):
            part.counts = mine > 0

    def _weigh(self, engine: Engine) -> None:
        batches, steps = accumulation(engine), engine.state.epoch_length
        step = _position(engine)
        first = step - step % batches
        counts = [self.sampler.counts(one) for one in range(first, min(first + batches, steps))]
        loss = engine.state.output["loss"]
        self._loss = float(loss.detach())
        weight = batches * self.sampler.num_replicas * counts[step - first][self.sampler.rank] / sum(map(sum, counts))
        if weight != 1:
            engine.state.output["loss"] = loss * weight

    def _share(self, engine: Engine) -> None:
        counts = self.sampler.counts(_position(engine))
        (loss,) = total([self._loss * counts[self.sampler.rank] / sum(counts)])
        if not math.isfinite(loss):
            raise self._diverged(engine)
        for item in engine.state.output:
            item["loss"] = loss

    def _diverged(self, engine: Engine) -> ConfigError:
        mine = [] if math.isfinite(self._loss) else self.sampler.batch(_position(engine))
        names = gathered([self.sampler.name_of(item) for item in mine])
        return divergence(engine.state.epoch, "loss", (name for each in names for name in each))


def accumulation(engine: Engine) -> int:
    """How many batches the trainer `engine` takes a step after."""
    return int(getattr(engine, "accumulation_steps", 1))


def ends_a_step(engine: Engine) -> bool:
    """Whether the optimiser steps in the present iteration."""
    position = _position(engine) + 1
    return position % accumulation(engine) == 0 or position == engine.state.epoch_length


def _position(engine: Engine) -> int:
    return int((engine.state.iteration - 1) % engine.state.epoch_length)
