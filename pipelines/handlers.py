"""Ignite handlers of training: seeds by epoch, batch-norm statistics that fit the weights, and what the user sees."""

import logging
import time
from collections.abc import Iterable
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils import set_determinism
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from radseg.pipelines.epoch_dataset import EpochDataset

_logger = logging.getLogger("radseg.training")


class EpochSeed:
    """Seeds all random numbers of an epoch (augmentation, dropout) by the seed and the epoch's number.

    Args:
        seed: of the whole training.
        dataset: told the epoch, for its augmentations.
    """

    def __init__(self, seed: int, dataset: EpochDataset) -> None:
        self.seed = seed
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Seeds at the start of every epoch of `engine`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seeds for the epoch that `engine` begins."""
        self.dataset.set_epoch(engine.state.epoch)
        set_determinism(seed=(self.seed * 1_000_003 + engine.state.epoch) % 2**32)


class RefreshBatchNorm:
    """Re-estimates the running statistics of batch norm over training batches, before validation.

    With Keras' momentum of 0.99 the running mean and variance lag hundreds of steps behind the weights, and a young
    network validates near zero. The plain average over some batches with the present weights is what they tend to
    (`torch.optim.swa_utils.update_bn`). Training itself doesn't use them and isn't changed.

    Args:
        network: whose batch norms are refreshed.
        loader: of training batches; "image" is fed forward.
        device: of the network.
        batches: how many batches to average over.
    """

    def __init__(
        self, network: torch.nn.Module, loader: Iterable[Any], device: torch.device, batches: int = 20
    ) -> None:
        self.network = network
        self.loader = loader
        self.device = device
        self.batches = batches

    def attach(self, engine: Engine) -> None:
        """Runs at the end of every epoch of `engine`; attach it before the validation handler."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Refreshes the statistics."""

        def images() -> Iterable[torch.Tensor]:
            for count, batch in enumerate(self.loader):
                if count == self.batches:
                    return
                yield torch.as_tensor(batch["image"])

        with torch.no_grad():
            torch.optim.swa_utils.update_bn(images(), self.network, self.device)


class EpochReport:
    """Shows a progress bar over the iterations and leaves one line an epoch; the lines also go to the log.

    Args:
        validator: the evaluator whose key metric stands in the line.
        optimizer: whose learning rate stands in the line.
        show: off, only the log is written.
    """

    def __init__(self, validator: Engine, optimizer: torch.optim.Optimizer, show: bool = True) -> None:
        self.validator = validator
        self.optimizer = optimizer
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not show,
        )
        self._show = show
        self._task: TaskID | None = None
        self._losses: list[float] = []
        self._began = 0.0

    def attach(self, engine: Engine) -> None:
        """Follows `engine` from its start to its end; attach it after the validation handler."""
        engine.add_event_handler(Events.STARTED, lambda _: self._bar.start())
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)
        engine.add_event_handler(Events.COMPLETED, lambda _: self._bar.stop())
        engine.add_event_handler(Events.TERMINATE, lambda _: self._bar.stop())
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _begin(self, engine: Engine) -> None:
        self._losses, self._began = [], time.monotonic()
        self._task = self._bar.add_task(self._title(engine), total=engine.state.epoch_length)

    def _advance(self, engine: Engine) -> None:
        self._losses.append(float(engine.state.output[0]["loss"]))
        if self._task is not None:
            self._bar.update(self._task, advance=1, description=f"{self._title(engine)}  loss {self._losses[-1]:.4f}")

    def _end(self, engine: Engine) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        state = self.validator.state
        name = state.key_metric_name
        validated = (
            f"{name} {state.metrics[name]:.4f} (best {state.best_metric:.4f} in epoch {state.best_metric_epoch})"
            if state.epoch == engine.state.epoch
            else "not validated"
        )
        line = (
            f"{self._title(engine)}  loss {sum(self._losses) / len(self._losses):.4f}  {validated}  "
            f"lr {self.optimizer.param_groups[0]['lr']:.2g}  {time.monotonic() - self._began:.0f} s"
        )
        if self._show:
            self._bar.console.print(line, highlight=False, soft_wrap=True)
        _logger.info(line)

    def _fail(self, engine: Engine, error: Exception) -> None:
        self._bar.stop()
        raise error

    @staticmethod
    def _title(engine: Engine) -> str:
        return f"epoch {engine.state.epoch}/{engine.state.max_epochs}"
