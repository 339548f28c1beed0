"""torch.compile: the network fused into machine code for one size of window; needs a C++ compiler."""

import threading

import torch
from torch import nn

from radseg.pipelines.engine.runtime.base import Loaded, Runtime
from radseg.pipelines.engine.runtime.precision import computing_in


class Compiled(Runtime):
    """The network compiled for batches of one shape; smaller batches run with idle windows."""

    name = "compiled"

    def load(self, network: nn.Module, shape: tuple[int, ...]) -> Loaded:
        """Compiles now, which takes from half a minute to minutes.

        Raises:
            Exception: there is no compiler, or the network can't be compiled as one graph.
        """
        # fullgraph: an error where torch would go on, without a word, with pieces run eagerly
        compiled = torch.compile(network, fullgraph=True, dynamic=False)
        lock = threading.Lock()
        with torch.inference_mode(False), torch.no_grad():
            batch = torch.zeros(shape, device=self.device)

        def run(windows: torch.Tensor) -> torch.Tensor:
            # always the same kind of tensor in the same mode: another one would be compiled for anew
            with lock, torch.inference_mode(False), torch.no_grad(), computing_in(self.dtype, self.device):
                batch[: len(windows)].copy_(windows)
                logits: torch.Tensor = compiled(batch)
            return logits[: len(windows)].float()

        run(batch)
        return Loaded(run, most=shape[0])
