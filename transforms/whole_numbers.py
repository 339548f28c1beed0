"""Masks as arrays of whole numbers that may be changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.transforms.slabs import slabs


def check_whole_numbers(values: npt.NDArray[Any]) -> None:
    """Refuse a mask that holds fractions.

    Raises:
        ValueError: it holds values that aren't whole numbers.
    """
    if values.dtype.kind == "f" and not all(
        np.array_equal(np.trunc(slab), slab) and np.isfinite(slab).all() for _, slab in slabs(values)
    ):
        raise ValueError("label cleaning takes an integer mask; this one holds fractions or undefined values.")


def whole_numbers(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy to work on, of one byte a voxel where that holds the labels."""
    if values.dtype.kind != "f":
        copied = values.copy(order="K")
        return copied.view(np.uint8) if values.dtype == bool else copied
    small = not values.size or (values.min() >= 0 and values.max() <= np.iinfo(np.uint8).max)
    return values.astype(np.uint8 if small else np.int32, order="K")
