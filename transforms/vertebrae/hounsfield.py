"""Bone in HU: an image's window undone, and the mineral that a change of volume or a disease leaves in a voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

MARROW_HU = -80.0
"""Fatty marrow, which fills the spaces of spongy bone; what lies above it in HU is mineral."""
DENSEST_HU = 1300.0
"""What squeezed bone reaches at most; denser bone stays as it is."""


def checked_window(window_hu: Sequence[float] | None) -> tuple[float, float] | None:
    """The HU that an image's 0 and 1 stand for, or None.

    Raises:
        ValueError: the limits aren't two ascending numbers.
    """
    if window_hu is None:
        return None
    if len(window_hu) != 2 or not window_hu[0] < window_hu[1]:
        raise ValueError(f"window_hu must be (lower, upper), got {window_hu}.")
    return float(window_hu[0]), float(window_hu[1])


def in_hounsfield(values: Values, window_hu: tuple[float, float] | None) -> Values:
    """HU of values 0 to 1 in a window; without a window they are HU."""
    if window_hu is None:
        return values
    return values * np.float32(window_hu[1] - window_hu[0]) + np.float32(window_hu[0])


def in_window(values_hu: Values, window_hu: tuple[float, float] | None) -> Values:
    """The other way, what lies outside the window clipped to it."""
    if window_hu is None:
        return values_hu
    shares = (values_hu - np.float32(window_hu[0])) / np.float32(window_hu[1] - window_hu[0])
    return np.asarray(np.clip(shares, 0, 1), np.float32)
