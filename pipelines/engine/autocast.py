"""Runs any inferer under automatic mixed precision, on the CPU as well as on CUDA."""

from contextlib import ExitStack
from typing import Any

import torch
from monai.inferers import Inferer

from radseg.pipelines.engine.fast_training import FastTraining
from radseg.pipelines.engine.kept_memory import keep_freed_memory
from radseg.pipelines.engine.strided_pointwise import StridedPointwise
from radseg.pipelines.engine.tiny_maps import FullPrecisionOnTinyMaps


class AutocastInferer(Inferer):
    """Calls `inferer` under `torch.autocast` and gives its result back in float32.

    MONAI's own `amp` switch reaches CUDA only; bfloat16 on a CPU that has it is 2 to 6 times faster for these networks.
    Training on a CPU, layers that torch gets wrong or slow are computed in other ways (`StridedPointwise`,
    `FullPrecisionOnTinyMaps`, `FastTraining`), and freed memory stays with the process (`keep_freed_memory`).

    Args:
        inferer: the MONAI inferer to run.
        enabled: off, the inferer runs as it is.
        dtype: name of the torch type to compute in.

    Raises:
        TypeError: `enabled` isn't a switch.
    """

    def __init__(self, inferer: Inferer, enabled: bool = True, dtype: str = "bfloat16") -> None:
        super().__init__()
        if not isinstance(enabled, bool):
            raise TypeError(f"enabled must be True or False (MONAI's command line wants --amp True), got {enabled!r}")
        self.inferer = inferer
        self.enabled = enabled
        self.dtype: torch.dtype = getattr(torch, dtype)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits of `inputs` (batch first), in float32 when autocast is on."""
        trains_on_cpu = inputs.device.type == "cpu" and torch.is_grad_enabled()
        with ExitStack() as modes:
            modes.enter_context(torch.autocast(inputs.device.type, dtype=self.dtype, enabled=self.enabled))
            if trains_on_cpu:
                keep_freed_memory()
                modes.enter_context(StridedPointwise())
            if trains_on_cpu and self.enabled:
                modes.enter_context(FullPrecisionOnTinyMaps())
                modes.enter_context(FastTraining(self.dtype))
            outputs: torch.Tensor = self.inferer(inputs, network, *args, **kwargs)
        return outputs.float() if self.enabled else outputs
