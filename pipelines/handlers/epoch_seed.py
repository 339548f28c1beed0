"""Seeds every epoch by its number, so that a resumed training draws what an uninterrupted one would."""

from ignite.engine import Engine, Events
from monai.utils import set_determinism

from radseg.pipelines.training.distributed import rank
from radseg.pipelines.training.epoch_dataset import EpochDataset


class EpochSeed:
    """Seeds all random numbers of an epoch (augmentation, dropout) by the seed and the epoch's number.

    Each of several processes draws its own for dropout; augmentation depends on the item.

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
        set_determinism(seed=(self.seed * 1_000_003 + engine.state.epoch + rank() * 777_767_777) % 2**32)
