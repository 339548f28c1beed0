"""A synthetic CT of the spine with its mask: vertebrae, some of them fractured, in a body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radseg.sample_data.grid import Grid
from radseg.sample_data.random_fields import generator, smooth_field, to_hounsfield
from radseg.sample_data.shapes import Position, inside, paint, smoothstep
from radseg.sample_data.spine_column import Spine, Vertebra, build_column
from radseg.sample_data.spine_surroundings import Body, paint_surroundings, ribs
from radseg.sample_data.spine_vertebra import arch, body, canal, disc, local_position

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SpineCase:
    """A synthetic patient with a CT of the spine.

    Attributes:
        name: The case's name, such as "spine01".
        seed: Seed of the texture and noise.
        grid: The image's voxels in patient space.
        column_lps: Patient position in mm of the middle of the spine's `center_level`.
        spine: The vertebral column.
        body: What surrounds it.
        noise_hu: Standard deviation of the noise.
    """

    name: str
    seed: int
    grid: Grid
    column_lps: tuple[float, float, float]
    spine: Spine
    body: Body
    noise_hu: float = 12.0

    @property
    def anatomical_grid(self) -> Grid:
        """The image's grid with the middle of the column at the origin, where the anatomy is built."""
        x, y, z = (middle - origin for middle, origin in zip(self.grid.center_lps, self.column_lps, strict=True))
        return replace(self.grid, center_lps=(x, y, z))


def make_spine(case: SpineCase) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Make the image and the mask of a case.

    Returns:
        The image in HU and the mask (0 background, 1 vertebra, 2 fractured vertebra), both of the grid's shape.
    """
    grid, rng = case.anatomical_grid, generator(case.seed)
    column = build_column(case.spine)
    image = paint_surroundings(grid, column, case.body, rng)
    trabecular = smooth_field(rng, grid.shape, (0.8, 0.8, 0.8))
    labels: NDArray[np.uint8] = np.zeros(grid.shape, dtype=np.uint8)
    nearest = np.zeros(grid.shape)
    _paint_soft_spine(image, grid, column)
    for vertebra in column:
        _paint_vertebra(image, labels, nearest, trabecular, case, vertebra)
    # The point spread of the scanner, the same in mm along all axes.
    image = ndimage.gaussian_filter(image, [0.62 / spacing for spacing in grid.spacing_mm], mode="nearest")
    noise = smooth_field(rng, grid.shape, (0.6, 0.6, 0.35))
    return to_hounsfield(image, noise, case.noise_hu, step_hu=14), labels


def _box(grid: Grid, center_lps: FloatArray, reach_mm: tuple[float, float, float]) -> tuple[slice, slice, slice] | None:
    """Return the voxels within reach of a point, or None where there are none; 10 mm are added for a tilted grid."""
    index = np.linalg.inv(grid.affine_lps) @ np.append(center_lps, 1.0)
    slices = []
    for middle, reach, spacing, length in zip(index[:3], reach_mm, grid.spacing_mm, grid.shape, strict=True):
        steps = (reach + 10.0) / spacing
        low, high = max(int(middle - steps), 0), min(int(middle + steps) + 1, length)
        if low >= high:
            return None
        slices.append(slice(low, high))
    return slices[0], slices[1], slices[2]


def _positions(grid: Grid, box: tuple[slice, slice, slice]) -> Position:
    x, y, z = (np.broadcast_to(axis, grid.shape)[box] for axis in grid.positions_lps())
    return x, y, z


def _paint_soft_spine(image: FloatArray, grid: Grid, column: Sequence[Vertebra]) -> None:
    """Paint the ribs, the spinal canal and the discs, which the masks don't name."""
    voxel = min(grid.spacing_mm)
    for vertebra in column:
        if vertebra.thoracic > 0 and (box := _box(grid, vertebra.center_lps, (140.0, 120.0, 60.0))):
            center = (float(vertebra.center_lps[0]), float(vertebra.center_lps[1]))
            distance = ribs(vertebra, center, _positions(grid, box))
            paint(image[box], distance, 280.0 + 420.0 * smoothstep(-2.5, 0.0, distance), voxel)
    for vertebra, above in pairwise(column):
        if box := _box(grid, vertebra.center_lps, (45.0, 60.0, 50.0)):
            position = _positions(grid, box)
            tunnel = canal(vertebra, local_position(vertebra, position))
            paint(image[box], tunnel - 1.5, -40.0, voxel)
            paint(image[box], tunnel, 28.0, voxel)
            ring = disc(vertebra, above, position)
            paint(image[box], ring, 72.0 + 35.0 * smoothstep(-6.0, 0.0, ring), voxel)


def _paint_vertebra(
    image: FloatArray,
    labels: NDArray[np.uint8],
    nearest: FloatArray,
    trabecular: FloatArray,
    case: SpineCase,
    vertebra: Vertebra,
) -> None:
    grid, spine = case.anatomical_grid, case.spine
    box = _box(grid, vertebra.center_lps, (45.0, 75.0, 50.0))
    if box is None:
        return
    voxel = min(grid.spacing_mm)
    local = local_position(vertebra, _positions(grid, box))
    front, rear = body(vertebra, local), arch(vertebra, local)
    core = spine.trabecular_hu + 0.16 * spine.trabecular_hu * trabecular[box]
    if vertebra.is_fractured:
        # Broken trabeculae pressed together make a dense band under the upper endplate.
        depth_below_top = vertebra.height_mm * 0.2 - local[2]
        core = core + 110.0 * smoothstep(9.0, 3.0, np.abs(depth_below_top))
    # The basivertebral vein enters from behind at mid-height.
    vein = smoothstep(3.0, 1.0, np.abs(local[2])) * smoothstep(5.0, 2.0, np.abs(local[0]))
    core = core - 60.0 * vein * smoothstep(0.0, 0.6 * vertebra.half_depth_mm, local[1])
    uneven = 0.8 + 0.15 * np.clip(trabecular[box], -1.5, 1.5)
    shell = uneven * smoothstep(-2.2, -0.2, front)
    paint(image[box], front, core + (spine.cortical_hu - core) * shell, voxel)
    shell = uneven * smoothstep(-2.6, -0.4, rear)
    paint(image[box], rear, core + 60.0 + (spine.cortical_hu - core - 60.0) * shell, voxel)
    if vertebra.is_labelled:
        distance = np.minimum(front, rear)
        closer = inside(distance) & inside(distance - nearest[box])
        labels[box][closer] = 2 if vertebra.is_fractured else 1
        nearest[box][closer] = distance[closer]
