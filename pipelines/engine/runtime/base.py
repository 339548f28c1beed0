"""What every runtime does: make a network ready for windows of one size."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from radseg.pipelines.engine.runtime.precision import low_precision

Run = Callable[[torch.Tensor], torch.Tensor]


class RuntimeMissingError(Exception):
    """What the runtime needs isn't installed; the message says what, in a few words."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network ready for windows of one size.

    Attributes:
        run: maps (windows, channels, *window) on any device to float32 logits (windows, classes, *window) that no later
            call changes; safe to call from several threads.
        most: how many windows it takes at once; None is any number.
    """

    run: Run
    most: int | None = None

    def takes(self, windows: int) -> bool:
        """Whether it takes so many windows at once."""
        return self.most is None or windows <= self.most


class Runtime(ABC):
    """Makes networks ready to run on a device.

    Args:
        device: where networks run; their weights are there already.
        precision: `exact` (float32) or `fast` (bfloat16 or float16 where the device computes in it).
    """

    name: ClassVar[str]

    def __init__(self, device: torch.device, precision: str) -> None:
        self.device = device
        self.dtype = low_precision(device) if precision == "fast" else None

    @abstractmethod
    def load(self, network: nn.Module, shape: tuple[int, ...]) -> Loaded:
        """Makes `network`, in evaluation mode, ready for batches of `shape` (windows, channels, *window).

        Raises:
            RuntimeMissingError: what this runtime needs isn't installed.
            Exception: this runtime can't run this network; torch may.
        """


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, in torch's words or CUDA's."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()
