"""Batch-norm statistics that fit the weights, re-estimated before each validation."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from ignite.engine import Engine, Events

from radseg.pipelines.training.distributed import average_


class RefreshBatchNorm:
    """Re-estimates the running statistics of batch norm over training batches, before validation.

    With Keras' momentum of 0.99 the running mean and variance lag hundreds of steps behind the weights, and a young
    network validates near zero. The plain average over some batches with the present weights is what they tend to
    (`torch.optim.swa_utils.update_bn`). Training itself doesn't use them and isn't changed. Several processes average
    over the batches of all, so that they validate one network.

    Args:
        network: whose batch norms are refreshed.
        loader: of training batches; "image" is fed forward.
        device: of the network.
        batches: how many batches of each process to average over.
        interval: epochs between validations.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        loader: Iterable[Any],
        device: torch.device,
        batches: int = 20,
        interval: int = 1,
    ) -> None:
        self.network = network
        self.loader = loader
        self.device = device
        self.batches = batches
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Runs at the end of every epoch of `engine` that is validated; attach it before the validation handler."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    def __call__(self, engine: Engine) -> None:
        """Refreshes the statistics."""

        images = (torch.as_tensor(batch["image"]) for batch in islice(self.loader, self.batches))
        with torch.no_grad():
            torch.optim.swa_utils.update_bn(images, self.network, self.device)
            average_([buffer for buffer in self.network.buffers() if buffer.is_floating_point()])
