"""From what a user asks for (precision, runtime, mirror images, folds) to the one module that answers for a window."""

from collections.abc import Sequence
from itertools import chain, combinations

import torch
from torch import nn

from radseg.pipelines.engine.runtime.members import Members
from radseg.pipelines.engine.runtime.network import RuntimeNetwork
from radseg.pipelines.errors import ConfigError


def run_on(
    networks: Sequence[nn.Module],
    runtime: str = "auto",
    precision: str = "exact",
    device: str | torch.device = "cpu",
    flips: Sequence[Sequence[int]] = ((),),
) -> Members:
    """The networks on a runtime, each on every flip of a window; the arguments are `RuntimeNetwork`'s and `Members`'.

    Raises:
        ConfigError: a runtime, precision, device or flip that can't be.
    """
    return Members([RuntimeNetwork(network, runtime, precision, device) for network in networks], flips)


def flips_of(tta: str | None, axes: Sequence[int]) -> list[tuple[int, ...]]:
    """The flips that test-time augmentation averages over: all combinations of `axes`, the window as it is first.

    Args:
        tta: None for none, or "flips".
        axes: spatial axes along which the network was trained on mirror images.

    Raises:
        ConfigError: another `tta`, or no axis to flip along.
    """
    if tta is None:
        return [()]
    if tta != "flips":
        raise ConfigError(f"tta {tta!r} isn't known; use flips")
    if not axes:
        raise ConfigError("tta flips: this form of the network was never trained on mirror images; leave --tta out")
    return list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))
