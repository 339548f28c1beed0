"""A synthetic CT of the pelvis, coarse enough to be made in a second, fine enough for radiographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radseg.sample_data.grid import Grid
from radseg.sample_data.pelvis_anatomy import Pelvis, hip_bones, sacrum, skin, thighs_and_spine
from radseg.sample_data.random_fields import generator, smooth_field, uniform
from radseg.sample_data.shapes import FloatArray, ellipsoid, fill, paint

_VOXEL_MM = 2.5
GRID = Grid(shape=(168, 112, 136), spacing_mm=(_VOXEL_MM,) * 3, center_lps=(0.0, 8.0, 10.0))


@dataclass(frozen=True)
class PelvisCase:
    """A synthetic patient.

    Attributes:
        name: The case's name, such as "pelvis01".
        seed: Seed of bowel gas, texture and exposure.
        pelvis: The patient's build.
    """

    name: str
    seed: int
    pelvis: Pelvis


@dataclass(frozen=True)
class PelvisImages:
    """A noiseless image in HU and the share of each voxel that is pelvic bone, both of the shape of `GRID`."""

    image_hu: FloatArray
    bone: NDArray[np.float64]


def make_pelvis(case: PelvisCase) -> PelvisImages:
    """Make the image and the bone of a case."""
    rng = generator(case.seed)
    pelvis = case.pelvis
    axes = [np.ascontiguousarray(np.broadcast_to(axis, GRID.shape)) for axis in GRID.positions_lps()]
    position = (axes[0], axes[1], axes[2])
    surface = skin(pelvis, position)
    texture = smooth_field(rng, GRID.shape, (5.0, 5.0, 5.0))
    image = np.full(GRID.shape, -1000.0)
    paint(image, surface, -95.0, _VOXEL_MM)
    paint(image, surface + pelvis.fat_mm, 45.0 + 22.0 * texture, _VOXEL_MM)
    for _ in range(int(rng.integers(3, 8))):
        centre = (uniform(rng, -80.0, 80.0), uniform(rng, -55.0, -10.0), uniform(rng, 0.0, 120.0))
        half_axes = (uniform(rng, 8.0, 26.0), uniform(rng, 7.0, 14.0), uniform(rng, 7.0, 18.0))
        paint(image, ellipsoid(position, centre, half_axes), -850.0, _VOXEL_MM)
    bones = np.minimum(hip_bones(pelvis, position), sacrum(pelvis, position))
    for bone in (thighs_and_spine(pelvis, position), bones):
        paint(image, bone, pelvis.cortex_hu, _VOXEL_MM)
        paint(image, bone + pelvis.cortex_mm, pelvis.marrow_hu * (1.0 + 0.25 * texture), _VOXEL_MM)
    return PelvisImages(image, fill(bones, _VOXEL_MM))
