"""What one X-ray of a patient consists of before it is exposed, and the form of what takes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class Projection:
    """What reaches the detector and what of it counts.

    Attributes:
        line_integral: (rows, columns) float64, ∫μ dl.
        mask: (rows, columns) bool.
    """

    line_integral: torch.Tensor
    mask: torch.Tensor


Take = Callable[[int, np.random.Generator], Projection]
"""Takes an X-ray of a patient: pixels of the longer side, and what draws pose, beam and build."""
