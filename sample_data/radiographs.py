"""Radiographs of the synthetic patients with their masks, computed from their CTs: simulated, and said so."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from radseg.sample_data.lung_phantom import LungCase, make_lungs
from radseg.sample_data.pelvis_phantom import GRID, PelvisCase, make_pelvis
from radseg.sample_data.random_fields import generator, uniform
from radseg.transforms.radiography.attenuation import attenuation_per_mm
from radseg.transforms.radiography.cone_beam import ConeBeam
from radseg.transforms.radiography.film import Exposure, expose
from radseg.transforms.radiography.line_integrals import line_integrals

CHEST_VIEWS = ("_pa", "_ap")
"""What is added to a chest's name: standing, the beam from behind; in bed, the beam from the front and nearer."""

_CHEST_SLICE_MM = 3.0
_LEAST_MM = 2.0  # of lung or bone along a ray; less is the blur of a voxel


@dataclass(frozen=True)
class Radiograph:
    """A radiograph and its mask.

    Attributes:
        pixels: grey values, (rows, columns), as displayed: the patient's right at the left, bone bright.
        mask: 0 and 1 of the same shape.
        spacing_mm: side of a pixel at the detector.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    spacing_mm: float


def chest_radiographs(case: LungCase) -> dict[str, Radiograph]:
    """Return the radiographs of a patient by view; the mask is the shadow of both lungs, behind the heart too."""
    slices = round(case.grid.shape[2] * case.grid.spacing_mm[2] / _CHEST_SLICE_MM) + 36
    grid = replace(
        case.grid,
        shape=(*case.grid.shape[:2], slices),
        spacing_mm=(*case.grid.spacing_mm[:2], _CHEST_SLICE_MM),
    )
    images = make_lungs(replace(case, grid=grid, noise_hu=0.0))
    rng = generator(case.seed + 90)
    beams = {
        "_pa": ConeBeam(1800.0, 1600.0, _centre(grid.affine_ras, grid.shape), 256, 288, 1.2, "PA", *_pose(rng, 3.0)),
        "_ap": ConeBeam(1100.0, 960.0, _centre(grid.affine_ras, grid.shape), 240, 272, 1.3, "AP", *_pose(rng, 5.0)),
    }
    return {
        view: _taken(images.image_hu.astype(np.float64), images.lung, grid.affine_ras, beam, rng)
        for view, beam in beams.items()
    }


def pelvis_radiograph(case: PelvisCase) -> Radiograph:
    """Return the AP radiograph of a patient; the mask is the shadow of the hip bones and the sacrum."""
    images = make_pelvis(case)
    rng = generator(case.seed + 90)
    x, y, z = _centre(GRID.affine_ras, GRID.shape)
    centre = (x + uniform(rng, -8.0, 8.0), y, z - 8.0 + uniform(rng, -10.0, 10.0))
    beam = ConeBeam(1150.0, 1000.0, centre, 240, 272, 1.4, "AP", *_pose(rng, 4.0))
    return _taken(images.image_hu, images.bone, GRID.affine_ras, beam, rng)


def _taken(
    image_hu: NDArray[np.float64],
    structure: NDArray[np.generic],
    affine_ras: NDArray[np.float64],
    beam: ConeBeam,
    rng: np.random.Generator,
) -> Radiograph:
    # float64 throughout: two machines then round to the same grey value
    energy_kev = uniform(rng, 55.0, 90.0)
    attenuation = attenuation_per_mm(torch.from_numpy(np.ascontiguousarray(image_hu)), energy_kev)
    integrals = line_integrals(attenuation, affine_ras, beam, dtype=torch.float64)
    way = line_integrals(np.asarray(structure, dtype=np.float64), affine_ras, beam, dtype=torch.float64)
    pixels = expose(integrals, _exposure(rng), seed=int(rng.integers(0, 2**31)))
    return Radiograph(pixels, np.asarray(way > _LEAST_MM, dtype=np.uint8), beam.pixel_mm)


def _exposure(rng: np.random.Generator) -> Exposure:
    return Exposure(
        photons=uniform(rng, 2e4, 1e5),
        scatter_fraction=uniform(rng, 0.1, 0.4),
        blur_sigma_pixels=uniform(rng, 0.3, 0.7),
        window_percentiles=(uniform(rng, 0.5, 3.0), uniform(rng, 98.8, 99.8)),
        gamma=uniform(rng, 0.8, 1.25),
        contrast=uniform(rng, 1.0, 1.4),
    )


def _pose(rng: np.random.Generator, degrees: float) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a patient who doesn't stand quite straight."""
    yaw, pitch, roll = (uniform(rng, -degrees, degrees) for _ in range(3))
    return yaw, pitch, roll / 2


def _centre(affine_ras: NDArray[np.float64], shape: tuple[int, int, int]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in (affine_ras @ [*((n - 1) / 2 for n in shape), 1.0])[:3])
    return x, y, z
