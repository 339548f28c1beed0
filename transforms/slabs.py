"""Walk through a large array slab by slab along the axis that is slowest in memory, so no full-size copy is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Box = tuple[slice, ...]
SLAB_VOXELS = 1 << 19
"""Fits a processor's cache as bytes, and is a few MB in any type that counting passes through."""


def memory_axes(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Return the axes from the slowest in memory to the fastest; those of one voxel, without a place, last."""
    return tuple(sorted(range(len(shape)), key=lambda axis: (shape[axis] == 1, -abs(strides[axis]), axis)))


def slabs(array: npt.NDArray[Any], voxels: int = SLAB_VOXELS) -> Iterator[tuple[Box, npt.NDArray[Any]]]:
    """Yield views that cover the array in order of its slowest axis, each after the index that gives it.

    Args:
        array: of any number of axes and any strides.
        voxels: of a view at most, though at least one plane.
    """
    axis = memory_axes(array.shape, array.strides)[0]
    thickness = max(1, voxels // max(1, array.size // max(1, array.shape[axis])))
    for start in range(0, array.shape[axis], thickness):
        index = (slice(None),) * axis + (slice(start, min(start + thickness, array.shape[axis])),)
        yield index, array[index]


def foreground_box(mask: npt.NDArray[Any]) -> Box | None:
    """Return the smallest box that holds all voxels of a mask that aren't 0, or None when there are none."""
    if not mask.size:
        return None
    axes = memory_axes(mask.shape, mask.strides)
    planes = mask.transpose(axes)
    ored = np.zeros(planes.shape[1:], mask.dtype)
    filled = np.zeros(len(planes), bool)
    for index, plane in enumerate(planes):
        np.bitwise_or(ored, plane, out=ored)
        filled[index] = plane.max() > 0 or plane.min() < 0  # many times faster than any() on bytes
    if not filled.any():
        return None
    touched = [filled, *(ored.any(axis=tuple(b for b in range(ored.ndim) if b != a)) for a in range(ored.ndim))]
    box = [slice(0)] * mask.ndim
    for axis, along in zip(axes, touched, strict=True):
        where = np.flatnonzero(along)
        box[axis] = slice(int(where[0]), int(where[-1]) + 1)
    return tuple(box)


def count_labels(mask: npt.NDArray[Any], labels: int) -> npt.NDArray[np.int64]:
    """Return how many voxels of a mask of integers from 0 have each value, at least for 0 to ``labels``."""
    counts = np.zeros(labels + 1, np.int64)
    box = foreground_box(mask)
    if box is not None:
        for _, slab in slabs(mask[box]):
            of_slab = np.bincount(slab.ravel(order="K"))
            if len(of_slab) > len(counts):
                counts = np.pad(counts, (0, len(of_slab) - len(counts)))
            counts[: len(of_slab)] += of_slab
    counts[0] += mask.size - counts.sum()
    return counts


def count_planes(mask: npt.NDArray[Any]) -> list[npt.NDArray[np.int64]]:
    """Return, for each axis, how many voxels of each plane across it aren't 0."""
    counts = [np.zeros(length, np.int64) for length in mask.shape]
    box = foreground_box(mask)
    if box is None:
        return counts
    inside = mask[box]
    axes = memory_axes(inside.shape, inside.strides)
    planes = inside.transpose(axes)
    summed = np.zeros(planes.shape[1:], np.int32)
    along = np.zeros(len(planes), np.int64)
    for index, plane in enumerate(planes):
        filled = plane != 0
        summed += filled
        along[index] = np.count_nonzero(filled)
    rest = [summed.sum(axis=tuple(b for b in range(summed.ndim) if b != a)) for a in range(summed.ndim)]
    for axis, numbers in zip(axes, [along, *rest], strict=True):
        counts[axis][box[axis]] = numbers
    return counts
