"""Trainings of small networks on made-up images, alone or as one of several processes, with radseg's own handlers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.data import DataLoader
from monai.engines import SupervisedTrainer
from monai.inferers import SimpleInferer
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.utils.data import Dataset

import radseg.bundles
from radseg.pipelines.engine import AutocastInferer
from radseg.pipelines.handlers import EpochSeed, RefreshBatchNorm, StepLoss
from radseg.pipelines.training.distributed import parallel, rank, world_size
from radseg.pipelines.training.epoch_dataset import EpochDataset
from radseg.pipelines.training.shard_sampler import ShardSampler

CPU = torch.device("cpu")


class Images(Dataset[Any]):
    """Images of 8 × 8 pixels and labels, the same whenever they are made; one of them may not be a number.

    Labels are 0 and 1, or with several classes 0, 1, 2, …
    """

    def __init__(self, items: int, spoilt: int | None = None, classes: int = 1) -> None:
        self.images = torch.randn(items, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        self.labels = sum((self.images > 0.3 + 0.5 * one).float() for one in range(max(1, classes - 1)))
        if spoilt is not None:
            self.images[spoilt, 0, 0, 0] = torch.nan

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.images[index], "label": self.labels[index]}

    def name_of(self, index: int) -> str:
        return f"case{index:02d}.png"


class Network(nn.Sequential):
    """Two convolutions with batch norm, which may be held in evaluation mode, and dropout."""

    def __init__(self, batch_norm: bool, dropout: float = 0.0, classes: int = 1) -> None:
        torch.manual_seed(5)
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, classes, 3, padding=1),
        )
        self.batch_norm = batch_norm

    def train(self, mode: bool = True) -> "Network":
        super().train(mode)
        self[1].train(mode and self.batch_norm)
        return self


@dataclass
class Toy:
    """A training and what it left."""

    trainer: Engine
    network: nn.Module
    losses: list[float] = field(default_factory=list)
    gradients: list[torch.Tensor] = field(default_factory=list)
    exchanges: list[int] = field(default_factory=list)

    @property
    def parameters(self) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.network.parameters()])

    @property
    def buffers(self) -> torch.Tensor:
        return torch.cat([buffer.flatten().double() for buffer in self.network.buffers()])


def toy_training(
    items: int = 10,
    batch: int = 2,
    accumulate: int = 1,
    epochs: int = 2,
    batch_norm: bool = False,
    dropout: float = 0.0,
    amp: bool = False,
    channels_last: bool = False,
    spoilt: int | None = None,
    loss: nn.Module | None = None,
    classes: int = 1,
) -> Toy:
    """A training with gradient descent, run to its end; gradients are noted at each step of the optimiser."""
    dataset = Images(items, spoilt, classes)
    network: nn.Module = Network(batch_norm, dropout, classes)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    loader = DataLoader(
        dataset, batch_size=batch, sampler=ShardSampler(dataset, world_size(), rank(), seed=3, batch_size=batch)
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
    run = parallel(network, CPU) if world_size() > 1 else network
    prepared = EpochDataset([], lambda item: item, progress=False)
    trainer = SupervisedTrainer(
        device=CPU,
        max_epochs=epochs,
        train_data_loader=loader,
        network=run,
        optimizer=optimizer,
        loss_function=loss or nn.BCEWithLogitsLoss(),
        inferer=AutocastInferer(SimpleInferer(), enabled=amp),
        train_handlers=[EpochSeed(0, prepared), StepLoss(loader), RefreshBatchNorm(network, loader, CPU)],
        accumulation_steps=accumulate,
    )
    toy = Toy(trainer, network)
    optimizer.register_step_pre_hook(lambda *_: toy.gradients.append(_gradient(network)))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: toy.losses.append(float(e.state.output[0]["loss"])))
    if world_size() > 1:
        run.register_comm_hook(toy, _count_exchanges)
    trainer.run()
    return toy


def _gradient(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def _count_exchanges(toy: Toy, bucket: torch.distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
    toy.exchanges.append(toy.trainer.state.iteration)
    return allreduce_hook(None, bucket)


def training_of_bundle_s_loss(bundle: str, configs: Sequence[str], **settings: Any) -> Toy:
    """A training with the loss that configs of a bundle give its trainer."""
    parser = ConfigParser()
    parser.read_config([str(Path(radseg.bundles.root(bundle)) / name) for name in configs])
    loss = parser.get_parsed_content("train#trainer#loss_function")
    return toy_training(loss=loss, classes=int(parser.get("out_channels", 1)), **settings)
