"""A mask brought from the source's grid to the network's, and a heat map back, by where voxels lie in the patient."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.pipelines.engine.crop import Box

Affine = npt.NDArray[np.float64]
_ROUNDING = 1e-3  # of a voxel, by which affines that were multiplied may be off


def on_network_grid(
    mask: npt.NDArray[np.bool_], source: Affine, grid: Affine, shape: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """The mask on another grid, each voxel as the one of the source that its centre lies in.

    What is so small that no centre lies in it is where its own voxels' centres lie.

    Args:
        mask: (i, j, k) on the source's grid.
        source: affine of the source, voxel → RAS mm.
        grid: affine of the network's grid.
        shape: of the network's grid.
    """
    way = np.linalg.inv(source) @ grid
    found: npt.NDArray[np.uint8] = ndimage.affine_transform(
        mask.view(np.uint8), way[:3, :3], way[:3, 3], tuple(shape), np.uint8, order=0, mode="grid-constant"
    )
    if not found.any() and mask.any():
        back = np.linalg.inv(way)
        places = np.argwhere(mask) @ back[:3, :3].T + back[:3, 3]
        found[tuple(np.clip(np.rint(places).astype(int), 0, np.array(shape) - 1).T)] = 1
    return found.astype(np.bool_)


def on_source_grid(
    values: npt.NDArray[np.float32], box: Box, grid: Affine, source: Affine, shape: Sequence[int]
) -> tuple[npt.NDArray[np.float32], tuple[slice, ...]]:
    """Values of a box of the network's grid, linearly interpolated at the source's voxels that lie in it.

    Args:
        values: on the box's voxels.
        box: start and stop along each axis of the network's grid.
        grid: affine of the network's grid, voxel → RAS mm.
        source: affine of the source.
        shape: of the source's grid.

    Returns:
        The values, 0 where an oblique box doesn't reach, and which part of the source's grid they are of.
    """
    way = np.linalg.inv(grid) @ source
    ends = [(start - 0.5, stop - 0.5) for start, stop in box]
    corners = np.array([(*corner, 1.0) for corner in itertools.product(*ends)]) @ np.linalg.inv(way).T
    # a voxel belongs to the box by its centre
    first = np.clip(np.ceil(corners[:, :3].min(0) - _ROUNDING), 0, shape).astype(int)
    last = np.clip(np.floor(corners[:, :3].max(0) + _ROUNDING) + 1, first, shape).astype(int)
    # the outer half of an edge voxel is as its centre
    padded = np.pad(values, 1, mode="edge")
    start = np.array([start for start, _ in box])
    offset = way[:3, :3] @ first + way[:3, 3] - start + 1
    found = ndimage.affine_transform(
        padded, way[:3, :3], offset, tuple(last - first), np.float32, order=1, mode="grid-constant"
    )
    return found, tuple(slice(int(low), int(high)) for low, high in zip(first, last, strict=True))


def axis_of_source(axis: int, grid: Affine, source: Affine) -> int:
    """The source's axis that runs most nearly along an axis of the network's grid."""
    along: npt.NDArray[Any] = (np.linalg.inv(source) @ grid)[:3, axis]
    return int(np.argmax(np.abs(along)))
