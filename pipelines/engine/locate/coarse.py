"""A CT on a coarse grid, sampled so that a thousand slices cost a blink and no second copy."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from nibabel.orientations import inv_ornt_aff, io_orientation

from radseg.pipelines.io import Volume

AIR_HU = -1024.0


@dataclass(frozen=True, eq=False)
class Coarse:
    """A CT at a few mm.

    Attributes:
        hu: float32, (R, A, S): indices grow to the patient's right, front and head (of an oblique scan, as nearly as
            its axes do). Nothing below −1024, so padding is air. Axial slices lie together in memory (Fortran order).
        affine_ras: 4×4, index of a voxel's centre → RAS in mm.
        spacing_mm: size of a voxel along R, A, S; a scan coarser than asked keeps its own.
    """

    hu: npt.NDArray[np.float32]
    affine_ras: npt.NDArray[np.float64]
    spacing_mm: tuple[float, float, float]


def coarse(volume: Volume, spacing_mm: float) -> Coarse:
    """Averages up to 2 × 2 × 2 voxels spread over each cell of a coarse grid that covers all of the volume.

    A cell is the whole number of voxels that comes nearest to `spacing_mm`; the last one of an axis may reach past the
    volume. Only the sampled voxels are read (of a memory-mapped array: only their pages).

    Args:
        volume: any orientation, float32 or int16.
        spacing_mm: size of a cell.
    """
    array = volume.array
    factors = [max(1, round(spacing_mm / size)) for size in volume.spacing_mm]
    axes = [_samples(length, factor) for length, factor in zip(array.shape, factors, strict=True)]
    shape = [-(-length // factor) for length, factor in zip(array.shape, factors, strict=True)]
    total = np.zeros(shape, dtype=np.float32, order="F" if array.strides[0] <= array.strides[2] else "C")
    count = [np.zeros(length, dtype=np.float32) for length in shape]
    for counted, samples in zip(count, axes, strict=True):
        for _, into in samples:
            counted[into] += 1
    for (from_i, to_i), (from_j, to_j), (from_k, to_k) in product(*axes):
        total[to_i, to_j, to_k] += array[from_i, from_j, from_k]
    for axis, counted in enumerate(count):
        total /= np.expand_dims(counted, [other for other in range(3) if other != axis])
    np.maximum(total, AIR_HU, out=total)

    cells = np.diag([*map(float, factors), 1.0])
    cells[:3, 3] = [(factor - 1) / 2 for factor in factors]
    affine = volume.affine_ras @ cells
    turn = io_orientation(affine)
    hu = total.transpose(np.argsort(turn[:, 0]))
    hu = hu[tuple(slice(None, None, int(sign)) for sign in turn[np.argsort(turn[:, 0]), 1])]
    affine = affine @ inv_ornt_aff(turn, tuple(shape))
    i, j, k = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    return Coarse(np.asfortranarray(hu), affine, (i, j, k))


def _samples(length: int, factor: int) -> list[tuple[slice, slice]]:
    """Voxels taken along an axis and the cells they go to: two of each cell, spread evenly over it."""
    inset = factor // 4
    samples = []
    for first in sorted({inset, factor - 1 - inset}):
        taken = len(range(first, length, factor))
        if taken:
            samples.append((slice(first, None, factor), slice(0, taken)))
    rest = length % factor
    if 0 < rest <= inset:  # the last cell holds no sampled voxel
        samples.append((slice(length - 1, None), slice(length // factor, None)))
    return samples
