"""A CT of a pelvis from the surfaces of hip bones and sacrum: simulated tissue, femurs and lumbar spine around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from radseg.transforms.radiography.implicit_shapes import Grid
from radseg.transforms.radiography.pelvis_bones import PelvisBones, fitting_femurs, fitting_vertebrae
from radseg.transforms.radiography.pelvis_soft_tissue import pelvic_soft_tissue
from radseg.transforms.radiography.surface_voxels import voxels_inside

LUMBAR_NUMBERS = (24, 23, 22)
"""VerSe's numbers of L5, L4 and L3, as `fitting_vertebrae` gives them."""

_AIR_HU = -1000.0
_BESIDE_MM, _BEHIND_MM, _BEFORE_MM, _BELOW_MM, _ABOVE_MM = 25.0, 60.0, 30.0, 40.0, 75.0
"""How far the picture reaches beyond the hip bones."""


@dataclass(frozen=True, eq=False)
class PelvisCT:
    """A simulated CT and its vertebrae.

    Attributes:
        grid: of both, along the axes of RAS.
        hu: (i, j, k) int16.
        vertebrae: (i, j, k) uint8, VerSe's numbers of L3 to L5 or 0; hip bones, sacrum and femurs are 0.
    """

    grid: Grid
    hu: np.ndarray
    vertebrae: np.ndarray


def pelvis_ct(bones: PelvisBones, spacing_mm: float, rng: np.random.Generator, lumbar: bool = True) -> PelvisCT:
    """A CT of a pelvis in a simulated body, with L3 to L5 or ending below them.

    Bones are a cortical shell around a spongy core with grain. Soft tissue, femurs and vertebrae are simple shapes
    drawn from `rng`, as are densities, blur and noise. It teaches a network of the spine what isn't a vertebra.

    Args:
        bones: the surfaces, closed.
        spacing_mm: of the voxels.
        rng: draws everything that is simulated.
        lumbar: whether the vertebrae are in the picture.

    Raises:
        ValueError: a hip bone has no socket: no pelvis, or not in mm.
    """
    low, high = bones.box()
    (right, _), (left, _) = bones.sockets
    tissue_grid, tissue = pelvic_soft_tissue(low, high, right, left, rng)
    grid = Grid.around(
        (low[0] - _BESIDE_MM, low[1] - _BEHIND_MM, low[2] - _BELOW_MM),
        (high[0] + _BESIDE_MM, high[1] + _BEFORE_MM, high[2] + _ABOVE_MM),
        spacing_mm,
    )
    hu = np.maximum(1000 * (_resampled(tissue, tissue_grid, grid) - 1), _AIR_HU)
    grain = ndimage.gaussian_filter(rng.normal(0, 1, grid.shape).astype(np.float32), 1.2)
    cortex_hu, spongy_hu = rng.uniform(450, 1100), rng.uniform(30, 250)
    core = spongy_hu * (1 + 0.5 * grain / grain.std())
    shell_mm = rng.uniform(1.2, 2.5)
    for bone in (bones.right_hip, bones.left_hip, bones.sacrum):
        found = voxels_inside(bone.vertices_ras, bone.faces, grid).numpy()
        if not found.any():  # thinner than a voxel
            continue
        box = _around(found)
        inside = ndimage.binary_closing(found[box])
        depth_mm = ndimage.distance_transform_edt(inside, [spacing_mm] * 3)
        shell = np.clip((shell_mm - depth_mm) / spacing_mm + 1, 0, 1).astype(np.float32)  # a voxel's share of it
        hu[box] = np.where(inside, core[box] + shell * (cortex_hu - core[box]), hu[box])
    simulated_hu = cortex_hu * rng.uniform(0.7, 1)
    femurs, spine = fitting_femurs(bones, rng), fitting_vertebrae(bones.sacrum, rng)
    vertebrae = np.zeros(grid.shape, np.uint8)
    for (bone_grid, whole, spongy), number in zip((*femurs, *spine), (0, 0, *LUMBAR_NUMBERS), strict=True):
        inside = _resampled(whole, bone_grid, grid) > 0.5
        hu = np.where(inside, np.where(_resampled(spongy, bone_grid, grid) > 0.5, core, simulated_hu), hu)
        vertebrae[inside] = number
    hu = ndimage.gaussian_filter(hu, rng.uniform(0.5, 1.0) / spacing_mm)
    noise = ndimage.gaussian_filter(rng.normal(0, 1, grid.shape), 0.6)
    hu = np.clip(np.rint(hu + rng.uniform(15, 60) * noise), -1024, 3071).astype(np.int16)
    if lumbar:
        return PelvisCT(grid, hu, vertebrae)
    below = int(np.flatnonzero(vertebrae.any(axis=(0, 1))).min(initial=grid.shape[2]))
    shorter = Grid(grid.first_ras, spacing_mm, (*grid.shape[:2], below))
    return PelvisCT(shorter, hu[..., :below], vertebrae[..., :below])


def _around(bone: np.ndarray) -> tuple[slice, ...]:
    """The box of a bone with two voxels of what surrounds it: nothing farther off is nearest to any of it."""
    (box,) = ndimage.find_objects(bone.astype(np.uint8))
    return tuple(slice(max(part.start - 2, 0), part.stop + 2) for part in box)


def _resampled(values: torch.Tensor, values_grid: Grid, grid: Grid) -> np.ndarray:
    """(i, j, k) float32 on another grid along the same axes, linear; 0 outside."""
    found = values.numpy().astype(np.float32)
    for axis, (start, first, count) in enumerate(zip(grid.first_ras, values_grid.first_ras, grid.shape, strict=True)):
        at = (start - first + grid.spacing_mm * np.arange(count)) / values_grid.spacing_mm
        last = values_grid.shape[axis] - 1
        low = np.clip(np.floor(at), 0, last).astype(int)
        shape = [-1 if other == axis else 1 for other in range(3)]
        share = (at - low).astype(np.float32).reshape(shape)
        within = ((at >= 0) & (at <= last)).reshape(shape)
        lower, upper = found.take(low, axis), found.take(np.minimum(low + 1, last), axis)
        found = np.where(within, lower + share * (upper - lower), np.float32(0))
    return found
