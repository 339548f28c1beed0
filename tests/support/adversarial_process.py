"""A small adversarial training; run as a program, one of two processes that train together.

Usage: adversarial_process.py FOLDER RANK
"""

import sys
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import nn
from torch.utils.data import DataLoader

from radseg.networks.comparison import SpineGANDiscriminator
from radseg.pipelines.training.adversarial import AdversarialSegmentationTrainer


def segmenter() -> nn.Module:
    """A network of two convolutions."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))


def constant_batches(count: int, seed: int = 0) -> DataLoader[Any]:
    """Batches of two images and their masks, the same in every epoch."""
    generator = torch.Generator().manual_seed(seed)
    items = [torch.randn(1, 64, 64, generator=generator) for _ in range(2 * count)]
    return DataLoader([{"image": item, "label": (item > 0.5).float()} for item in items], batch_size=2)


def trainer_of(
    network: nn.Module,
    batches: DataLoader[Any],
    *,
    learning_rate: float = 0.01,
    epochs: int = 1,
    discriminator: nn.Module | None = None,
    **settings: Any,
) -> AdversarialSegmentationTrainer:
    """A trainer of `network` against a small discriminator."""
    return AdversarialSegmentationTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), learning_rate),
        loss_function=nn.BCEWithLogitsLoss(),
        discriminator=discriminator or SpineGANDiscriminator(2, 1, (4, 8, 16)),
        **settings,
    )


def main(folder: Path, rank: int) -> None:
    """Trains beside the other process on batches of its own and leaves what came of it in `folder`."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # so that neither network begins alike
    network = nn.parallel.DistributedDataParallel(segmenter())
    trainer = trainer_of(network, constant_batches(3, seed=rank))
    losses: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: losses.append(float(trainer.state.output[0]["discriminator_loss"]))
    )
    trainer.run()
    torch.save({"discriminator": trainer.discriminator.state_dict(), "losses": losses}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
