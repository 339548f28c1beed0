"""A synthetic CT of the chest with pneumonia, its lung mask and its lesion mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radseg.sample_data.chest_anatomy import Chest, lungs, paint_chest
from radseg.sample_data.grid import Grid
from radseg.sample_data.lung_lesions import Pneumonia, place_lesions, tissue_hu
from radseg.sample_data.lung_vessels import fill_segments, grow_tree
from radseg.sample_data.random_fields import generator, smooth_field, to_hounsfield
from radseg.sample_data.shapes import fill, inside

FloatArray = NDArray[np.float64]
_SUBSLICES = 2


@dataclass(frozen=True)
class LungCase:
    """A synthetic patient with a CT of the chest.

    Attributes:
        name: The case's name, such as "lung01".
        seed: Seed of vessels, lesions, texture and noise.
        grid: The image's voxels in patient space, not tilted.
        chest_lps: Patient position in mm of the middle of the chest.
        chest: The patient's build.
        pneumonia: The disease.
        noise_hu: Standard deviation of the noise in soft tissue.
    """

    name: str
    seed: int
    grid: Grid
    chest_lps: tuple[float, float, float]
    chest: Chest
    pneumonia: Pneumonia
    noise_hu: float = 22.0


@dataclass(frozen=True)
class LungImages:
    """An image in HU, its lesion mask and its lung mask (0 and 1), all of the grid's shape."""

    image_hu: NDArray[np.int16]
    lesion: NDArray[np.uint8]
    lung: NDArray[np.uint8]


def _thick(thin: FloatArray) -> FloatArray:
    """Average sub-slices into slices, as a scanner does."""
    columns, rows, slices = thin.shape
    return np.asarray(thin.reshape(columns, rows, slices // _SUBSLICES, _SUBSLICES).mean(axis=3))


def make_lungs(case: LungCase) -> LungImages:
    """Make the image and the masks of a case."""
    rng = generator(case.seed)
    columns, rows, slices = case.grid.shape
    voxel, row_mm, slice_mm = case.grid.spacing_mm
    x, y, z = (middle - origin for middle, origin in zip(case.grid.center_lps, case.chest_lps, strict=True))
    thin = replace(
        case.grid,
        shape=(columns, rows, slices * _SUBSLICES),
        spacing_mm=(voxel, row_mm, slice_mm / _SUBSLICES),
        center_lps=(x, y, z),
    )
    axes = [np.ascontiguousarray(np.broadcast_to(axis, thin.shape)) for axis in thin.positions_lps()]
    position = (axes[0], axes[1], axes[2])

    image = paint_chest(case.chest, position, rng, voxel)
    lung = lungs(case.chest, position)
    arteries = [grow_tree(rng, (side * 40.0 + 3.0, 10.0, -2.0), side) for side in (-1, 1)]
    airways = [segment for side in (-1, 1) for segment in grow_tree(rng, (side * 40.0 + 3.0, 14.0, -4.0), side)]
    texture = smooth_field(rng, thin.shape, (1.8, 1.8, 1.2))
    sigma = (7.0 / voxel, 7.0 / row_mm, 7.0 * _SUBSLICES / slice_mm)
    lesions = place_lesions(case.pneumonia, lung, position, rng, sigma)
    # Blood settles: the lung is denser behind, and just under the pleura.
    healthy = -862.0 + 0.45 * position[1] + 14.0 * np.clip(texture, -2.0, 2.0)
    bronchi = fill_segments([segment for segment in airways if segment.generation < 5], position, thin.spacing_mm)
    tissue = tissue_hu(lesions, case.pneumonia, healthy, bronchi, texture)
    vessels = fill_segments([segment for tree in arteries for segment in tree], position, thin.spacing_mm)
    tissue += vessels * (np.maximum(35.0, tissue) - tissue)
    share = fill(lung, voxel)
    image += share * (tissue - image)

    diseased = inside(np.minimum(lesions.glass, lesions.consolidation))
    lung_mask = _thick(inside(lung).astype(np.float64)) >= 0.5
    lesion_mask = (_thick((diseased & inside(lung)).astype(np.float64)) >= 0.5) & lung_mask
    image = ndimage.gaussian_filter(_thick(image), (0.45, 0.45, 0.0), mode="nearest")
    noise = smooth_field(rng, case.grid.shape, (0.55, 0.55, 0.0))
    return LungImages(
        image_hu=to_hounsfield(image, noise, case.noise_hu, step_hu=14),
        lesion=lesion_mask.astype(np.uint8),
        lung=lung_mask.astype(np.uint8),
    )
