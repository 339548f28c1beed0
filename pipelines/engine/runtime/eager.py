"""PyTorch as it is: runs every network, on every device, and is what the other runtimes fall back to."""

import torch
from torch import nn

from radseg.pipelines.engine.runtime.base import Loaded, Runtime
from radseg.pipelines.engine.runtime.precision import channels_last, computing_in, weights_channels_last


class Eager(Runtime):
    """The network itself, with channels innermost in memory."""

    name = "torch"

    def load(self, network: nn.Module, shape: tuple[int, ...]) -> Loaded:
        """Takes any number of windows; never fails."""
        weights_channels_last(network, len(shape))

        def run(windows: torch.Tensor) -> torch.Tensor:
            with computing_in(self.dtype, self.device):
                logits: torch.Tensor = network(channels_last(windows.to(self.device, torch.float32)))
            return logits.float()

        return Loaded(run)
