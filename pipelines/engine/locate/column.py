"""How much each place in a CT looks like the inside of a spinal canal, and the most canal-like way from end to end."""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float32]

_SMOOTH_MM = 1.8  # against noise where the cells are no larger than the voxels
_RAY_MM = (8.0, 28.0)  # the canal's wall lies within this distance of its middle, body and arch of a vertebra alike
_RAYS = 8
_STEP_MM = 2.0
_AIR_HU = -150.0  # darker than fat: no canal
_FAT_HU = -50.0
_METAL_HU = 1600.0  # of a cell; rods beside the spine would wall in another canal
_ALONG_MM = 12.0  # sigma along the column: a disc's slices borrow from the vertebrae beside it
_ACROSS_MM = 4.0
_MOST_SLOPE = (1.5, 1.0)  # of the column against the axis of the scan: forwards or backwards, sideways
_COST_PER_MM = (0.0375, 0.1)  # of a slope of 1: kyphosis is steeper than scoliosis


def canal_likeness(hu: Array, spacing_mm: tuple[float, float, float], bone_hu: tuple[float, float]) -> Array:
    """Soft tissue with bone on both sides in most directions of its axial plane, 0…1.

    True of the canal inside the arches, less so of the marrow inside a vertebra's shell, a joint or a long bone, hardly
    of vessels, kidneys or ribs. Metal is taken for soft tissue.

    Args:
        hu: (S, A, R).
        spacing_mm: along S, A, R.
        bone_hu: where bone starts and where it is certain.
    """
    hu = ndimage.gaussian_filter(hu, [_SMOOTH_MM / size for size in spacing_mm], mode="nearest", truncate=2.0)
    low, high = bone_hu
    bone = np.clip((hu - low) / (high - low), 0, 1)
    metal = hu > _METAL_HU
    if metal.any():
        bone[ndimage.binary_dilation(metal, np.ones((3, 3, 3)))] = 0
    between = np.zeros_like(bone)
    for ray in range(_RAYS // 2):
        angle = 2 * math.pi * ray / _RAYS
        between += np.minimum(_wall(bone, spacing_mm, angle), _wall(bone, spacing_mm, angle + math.pi))
    between *= (1 - bone) * np.clip((hu - _AIR_HU) / (_FAT_HU - _AIR_HU), 0, 1) * (2 / _RAYS)
    sigma = [mm / size for mm, size in zip((_ALONG_MM, _ACROSS_MM, _ACROSS_MM), spacing_mm, strict=True)]
    return np.asarray(ndimage.gaussian_filter(between, sigma, mode="nearest", truncate=2.5), dtype=np.float32)


def best_path(score_zyx: Array, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.intp]:
    """The place in every slice, (S, 2) as indices along A and R, with the largest sum of score less cost of slope.

    Dynamic programming from the lowest slice to the highest (Viterbi 1967).
    """
    slices, *plane = score_zyx.shape
    rise, *across = spacing_mm
    came = np.zeros((slices, *plane, 2), dtype=np.int8)
    total = score_zyx[0].copy()
    for index in range(1, slices):
        for axis in (0, 1):
            total, came[index, ..., axis] = _stepped(total, axis, across[axis], rise)
        total += score_zyx[index]
    path = np.zeros((slices, 2), dtype=np.intp)
    path[-1] = np.unravel_index(int(total.argmax()), total.shape)
    for index in range(slices - 1, 0, -1):
        y, x = path[index]
        from_x = x + came[index, y, x, 1]
        path[index - 1] = y + came[index, y, from_x, 0], from_x
    return path


def along_path(values_zyx: Array, path: npt.NDArray[np.intp]) -> Array:
    """The values that a path goes through, one a slice."""
    return np.asarray(values_zyx[np.arange(len(path)), path[:, 0], path[:, 1]])


def _wall(bone: Array, spacing_mm: tuple[float, float, float], angle: float) -> Array:
    """The most bone within reach of each voxel along one direction of the axial plane."""
    steps = {
        (round(mm * math.sin(angle) / spacing_mm[1]), round(mm * math.cos(angle) / spacing_mm[2]))
        for mm in np.arange(_RAY_MM[0], _RAY_MM[1] + _STEP_MM / 2, _STEP_MM)
    }
    most = np.zeros_like(bone)
    for dy, dx in steps:
        to, of = _overlap(bone.shape[1], dy), _overlap(bone.shape[1], -dy)
        to_x, of_x = _overlap(bone.shape[2], dx), _overlap(bone.shape[2], -dx)
        here = most[:, to, to_x]
        np.maximum(here, bone[:, of, of_x], out=here)
    return most


def _stepped(total: Array, axis: int, size: float, rise: float) -> tuple[Array, npt.NDArray[np.int8]]:
    """The best sum that reaches each place along one axis in one slice's rise, and from how many voxels away."""
    best, came = total.copy(), np.zeros(total.shape, dtype=np.int8)
    reach = min(max(1, math.floor(_MOST_SLOPE[axis] * rise / size + 0.01)), total.shape[axis] - 1)
    for step in range(-reach, reach + 1):
        if step:
            to, of = [slice(None)] * 2, [slice(None)] * 2
            to[axis], of[axis] = _overlap(total.shape[axis], step), _overlap(total.shape[axis], -step)
            reached = total[tuple(of)] - _COST_PER_MM[axis] * (step * size / rise) ** 2 * rise
            better = reached > best[tuple(to)]
            best[tuple(to)][better] = reached[better]
            came[tuple(to)][better] = step
    return best, came


def _overlap(length: int, step: int) -> slice:
    """Where along an axis there is a voxel `step` further on."""
    return slice(max(0, -step), max(0, min(length, length - step)))
