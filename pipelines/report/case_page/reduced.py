"""A volume made small enough for a page: blocks of whole voxels become one."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from radseg.transforms.slabs import memory_axes

MOST_AXIS = 2048
"""Voxels along an axis: what graphics processors take as a 3D texture nearly everywhere."""

_ALIKE = 1.1


def steps_within(shape: Sequence[int], spacing_mm: Sequence[float], most: int) -> tuple[int, int, int]:
    """How many voxels along each axis become one, so that at most so many are left.

    Axes that are finer than the others are reduced first, those of about the same spacing together.

    Args:
        shape: (i, j, k).
        spacing_mm: along each axis.
        most: voxels of the result.
    """
    steps = [1, 1, 1]
    while True:
        left = [-(-length // step) for length, step in zip(shape, steps, strict=True)]
        too_long = [axis for axis in range(3) if left[axis] > MOST_AXIS]
        if not too_long and np.prod(left, dtype=np.int64) <= most:
            i, j, k = steps
            return i, j, k
        open_axes = too_long or [axis for axis in range(3) if left[axis] > 1]
        reached = {axis: spacing_mm[axis] * steps[axis] for axis in open_axes}
        finest = min(reached.values())
        for axis in open_axes:
            if reached[axis] <= _ALIKE * finest:
                steps[axis] += 1


def reduce_blocks(
    array: npt.NDArray[Any],
    steps: Sequence[int],
    how: Literal["mean", "largest"],
    dtype: npt.DTypeLike,
    scale: float = 1.0,
) -> npt.NDArray[Any]:
    """Blocks of voxels as one voxel each, a plane at a time, so that no copy of a large volume is made.

    Args:
        array: (i, j, k); it may be a view of a file.
        steps: voxels of a block along each axis; blocks at the far ends may be smaller.
        how: "mean", or "largest", so that no labelled voxel vanishes.
        dtype: an integer type, of the result: values are rounded, and cut to its ends.
        scale: values are multiplied by this first.
    """
    order = memory_axes(array.shape, array.strides)[::-1]  # planes across the axis that is slowest in memory
    turned, (step_i, step_j, step_k) = array.transpose(order), [steps[axis] for axis in order]
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    result = np.empty([-(-length // step) for length, step in zip(array.shape, steps, strict=True)], dtype, order="F")
    planes = result.transpose(order)
    voxels = np.multiply.outer(_sizes(turned.shape[0], step_i), _sizes(turned.shape[1], step_j))
    for plane in range(planes.shape[2]):
        slab = turned[..., plane * step_k : (plane + 1) * step_k]
        if max(steps) == 1 and scale == 1 and slab.dtype == dtype:
            planes[..., plane] = slab[..., 0]
            continue
        if how == "largest":
            values = _blocks(np.maximum, slab.max(axis=2), step_i, step_j)
        else:
            values = _blocks(np.add, slab.sum(axis=2, dtype=np.float64), step_i, step_j) / (voxels * slab.shape[2])
        planes[..., plane] = np.clip(np.rint(values * scale), low, high)
    return result


def reduced_affine(affine_ras: npt.NDArray[np.float64], steps: Sequence[int]) -> npt.NDArray[np.float64]:
    """The affine (voxel → RAS mm) of blocks: as many times as large, the first centre in the middle of its voxels."""
    affine = affine_ras.copy()
    affine[:3, :3] *= steps
    affine[:3, 3] = affine_ras[:3, :3] @ ((np.asarray(steps) - 1) / 2) + affine_ras[:3, 3]
    return affine


def _blocks(combine: np.ufunc, plane: npt.NDArray[Any], step_i: int, step_j: int) -> npt.NDArray[Any]:
    for axis, step in enumerate((step_i, step_j)):
        if step > 1:
            plane = combine.reduceat(plane, range(0, plane.shape[axis], step), axis=axis)
    return plane


def _sizes(length: int, step: int) -> npt.NDArray[np.int64]:
    """How many voxels each block along an axis holds."""
    starts = np.arange(0, length, step)
    return np.minimum(starts + step, length) - starts
