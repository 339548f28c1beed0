"""What surrounds the vertebral column in a spine CT: skin, fat, muscles, vessels, lungs or bowel, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from radseg.sample_data.grid import Grid
from radseg.sample_data.random_fields import smooth_field
from radseg.sample_data.shapes import Position, ellipse, ellipsoid, paint, smooth_maximum, smoothstep, tube
from radseg.sample_data.spine_column import Vertebra

FloatArray = NDArray[np.float64]
FAT_HU, MUSCLE_HU, AIR_HU, LUNG_HU = -100.0, 55.0, -1000.0, -860.0


@dataclass(frozen=True)
class Body:
    """The build of a synthetic patient around the spine.

    Attributes:
        fat_mm: Thickness of the fat under the skin of the back.
        half_width_mm: Half the body's width.
        half_depth_mm: Half the body's depth.
        muscle_fat: Share of fat in the muscles of the back, more in the old.
        vessel_hu: Density of aorta and vena cava: 45 without contrast medium, up to 250 with it.
        has_table: Whether the table of the scanner lies in the image.
    """

    fat_mm: float = 16.0
    half_width_mm: float = 160.0
    half_depth_mm: float = 105.0
    muscle_fat: float = 0.15
    vessel_hu: float = 45.0
    has_table: bool = True


def cavity(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the distance to the inner wall of the chest and belly, x and y from the vertebral bodies' middle."""
    return ellipse(x, y + 50.0, 122.0, 92.0)


def _texture(field: FloatArray, amplitude_hu: float) -> FloatArray:
    return amplitude_hu * np.clip(field, -2.0, 2.0)


def paint_surroundings(grid: Grid, column: Sequence[Vertebra], build: Body, rng: np.random.Generator) -> FloatArray:
    """Return the clean image in HU of everything but the bones, discs and the spinal canal."""
    x, y, z = (np.broadcast_to(axis, grid.shape) for axis in grid.positions_lps())
    column_mm, row_mm, slice_mm = grid.spacing_mm
    voxel = min(grid.spacing_mm)
    heights = [vertebra.center_lps[2] for vertebra in column]
    spine_x = np.interp(z, heights, [vertebra.center_lps[0] for vertebra in column])
    spine_y = np.interp(z, heights, [vertebra.center_lps[1] for vertebra in column])
    thoracic = np.interp(z, heights, [vertebra.thoracic for vertebra in column])
    x_spine, y_spine = x - spine_x, y - spine_y
    diaphragm = next(vertebra.center_lps[2] for vertebra in column if vertebra.level == "T10")
    fine = smooth_field(rng, grid.shape, (1.2, 1.2, 1.2))
    loops = smooth_field(rng, grid.shape, (9.0 / column_mm, 9.0 / row_mm, 9.0 / slice_mm))
    streaks = smooth_field(rng, grid.shape, (1.6, 1.6, 12.0 / slice_mm))

    back = 82.0 + build.fat_mm
    skin = ellipse(
        x - 0.5 * spine_x, y - 0.6 * spine_y - back + build.half_depth_mm, build.half_width_mm, build.half_depth_mm
    )
    # The furrow over the spinous processes.
    skin = skin + 5.0 * np.clip(1 - (x_spine / 22.0) ** 2, 0.0, 1.0) * (y_spine > 0)
    image = np.full(grid.shape, AIR_HU)
    paint(image, skin, 10.0, voxel)
    paint(image, skin + 2.0, FAT_HU + _texture(fine, 5.0), voxel)
    wall = smooth_maximum(skin + build.fat_mm, -(y_spine + 200.0), 4.0)
    paint(image, wall, FAT_HU + 60.0 + _texture(streaks, 40.0), voxel)

    _paint_muscles(image, (x_spine, y_spine, z), wall, streaks, build.muscle_fat, voxel)
    inner = cavity(x_spine, y_spine)
    paint(image, inner, FAT_HU + _texture(fine, 6.0), voxel)
    _paint_belly(image, (x_spine, y_spine, z), inner, loops, fine, thoracic, voxel)
    _paint_lungs(image, (x_spine, y_spine, z), inner, z - diaphragm, streaks, voxel)
    _paint_vessels(image, (x_spine, y_spine, z), thoracic, build.vessel_hu, voxel)
    if build.has_table:
        table = ellipse(x, y - 0.6 * float(spine_y.mean()) + 160.0 - back - 7.0, 240.0, 160.0)
        paint(image, np.maximum(-table, table - 32.0), -880.0, voxel)
        for depth in (0.0, 32.0):
            paint(image, np.abs(table - depth) - 1.0, -150.0, voxel)
    return image


def _paint_muscles(
    image: FloatArray, spine: Position, wall: FloatArray, streaks: FloatArray, muscle_fat: float, voxel: float
) -> None:
    x, y, _ = spine
    lean = MUSCLE_HU - (MUSCLE_HU - FAT_HU) * smoothstep(0.0, 1.2, streaks - 1.6 + 3.0 * muscle_fat)
    side = np.abs(x)
    erector = ellipse(side - 27.0, y - 42.0, 24.0, 21.0)
    multifidus = ellipse(side - 9.5, y - 45.0, 8.5, 19.0)
    lateral = ellipse(side - 70.0, y - 30.0, 22.0, 15.0)
    for muscle in (erector, multifidus, lateral):
        paint(image, np.maximum(muscle, wall + 1.5), lean, voxel)


def _paint_belly(
    image: FloatArray,
    spine: Position,
    inner: FloatArray,
    loops: FloatArray,
    fine: FloatArray,
    thoracic: FloatArray,
    voxel: float,
) -> None:
    x, y, z = spine
    side = np.abs(x)
    psoas = ellipse(side - 39.0, y + 1.0, 18.0, 20.0)
    paint(image, psoas + 18.0 * smoothstep(0.0, 0.3, thoracic), MUSCLE_HU + _texture(fine, 8.0), voxel)
    belly = np.maximum(inner + 6.0, 30.0 - np.sqrt(x**2 + (y - 4.0) ** 2))
    front = np.maximum(belly, y + 24.0)
    # Loops of bowel: wall, fluid, and gas that rises to the front.
    bowel = np.maximum(front, 5.0 * (0.35 - np.abs(loops)))
    paint(image, bowel, 38.0 + _texture(fine, 6.0), voxel)
    paint(image, np.maximum(front + 4.0, 8.0 * (1.35 - loops)), -820.0, voxel)
    kidney = np.minimum(
        ellipsoid((x, y, z), (62.0, -4.0, 8.0), (22.0, 26.0, 52.0)),
        ellipsoid((x, y, z), (-64.0, -4.0, -4.0), (22.0, 26.0, 52.0)),
    )
    low = 40.0 * smoothstep(0.3, 0.6, thoracic)
    paint(image, np.maximum(kidney, belly) + low, 35.0 + _texture(fine, 5.0), voxel)
    liver = np.maximum(belly + 2.0, 34.0 + x + 0.2 * y)
    paint(image, liver + 60.0 * (1 - smoothstep(0.05, 0.35, thoracic)), 60.0 + _texture(fine, 6.0), voxel)
    spleen = ellipse(x - 84.0, y - 6.0, 24.0, 34.0)
    paint(
        image,
        np.maximum(spleen, belly) + 40.0 * (1 - smoothstep(0.1, 0.4, thoracic)),
        50.0 + _texture(fine, 6.0),
        voxel,
    )


def _paint_lungs(
    image: FloatArray,
    spine: Position,
    inner: FloatArray,
    above_diaphragm: FloatArray,
    streaks: FloatArray,
    voxel: float,
) -> None:
    x, y, _ = spine
    # The lungs reach furthest down behind and at the sides of the diaphragm's dome.
    dome = 18.0 - 0.95 * np.clip(y + 40.0, 0.0, 85.0) - 0.15 * np.abs(x) - above_diaphragm
    clear_of_spine = 27.0 - np.sqrt(x**2 + np.minimum(y + 2.0, 0.0) ** 2)
    mediastinum = 30.0 + 0.12 * np.clip(-y - 15.0, 0.0, 60.0) - np.abs(x)
    mediastinum = np.where(y > -14.0, -40.0, mediastinum)
    lungs = smooth_maximum(smooth_maximum(inner + 3.0, clear_of_spine, 6.0), mediastinum, 8.0)
    heart = ellipse(x - 12.0, y + 82.0, 66.0, 52.0)
    lungs = smooth_maximum(smooth_maximum(lungs, dome, 6.0), 2.0 - heart, 4.0)
    paint(image, np.maximum(np.maximum(inner + 5.0, heart), 8.0 - above_diaphragm), 40.0, voxel)
    vessels = 520.0 * smoothstep(1.7, 2.5, streaks)
    paint(image, lungs, LUNG_HU + 1.2 * (y + 40.0) + vessels, voxel)


def _paint_vessels(image: FloatArray, spine: Position, thoracic: FloatArray, vessel_hu: float, voxel: float) -> None:
    x, y, z = spine
    aorta = ellipse(
        x - 8.0 - 8.0 * thoracic, y + 30.0 - 4.0 * thoracic, 10.5 + np.zeros_like(z), 10.5 + np.zeros_like(z)
    )
    paint(image, aorta, vessel_hu, voxel)
    calcified = np.maximum(np.abs(aorta) - 1.0, np.maximum(-y - 34.0, np.abs(z - 12.0) - 9.0))
    paint(image, calcified, 480.0, voxel)
    cava = ellipse(x + 17.0, y + 28.0, 12.0 + np.zeros_like(z), 9.0 + np.zeros_like(z))
    paint(image, cava + 30.0 * smoothstep(0.5, 0.8, thoracic), 0.5 * vessel_hu + 22.0, voxel)


def ribs(vertebra: Vertebra, spine_center: tuple[float, float], position_lps: Position) -> FloatArray:
    """Return the distance to the pair of ribs of a thoracic vertebra, from the joint along the wall of the chest."""
    center_x, center_y = spine_center
    _, _, z_center = vertebra.center_lps
    x, y, z = position_lps[0] - center_x, position_lps[1] - center_y, position_lps[2] - z_center
    mirrored = (np.abs(x), y, z)
    height, width, depth = vertebra.height_mm, vertebra.half_width_mm, vertebra.half_depth_mm
    # Each pair of numbers is an angle's sine and cosine on the wall, from the back to the side.
    wall = [(0.42, 0.9075), (0.58, 0.8146), (0.74, 0.6726), (0.87, 0.4931), (0.96, 0.28), (1.0, 0.0), (0.96, -0.28)]
    points = [(width + 1.0, depth * 0.55, 0.48 * height), (width + 12.0, depth * 0.8 + 17.0, 0.40 * height)]
    points += [(126.0 * sine, 96.0 * cosine - 50.0, 0.3 * height - 48.0 * (sine - 0.35)) for sine, cosine in wall]
    squashed = [(p[0], p[1], p[2] / 1.5) for p in points]
    flat = (mirrored[0], mirrored[1], mirrored[2] / 1.5)
    return np.asarray(np.minimum.reduce([tube(flat, start, end, 3.6, 3.6) for start, end in pairwise(squashed)]))
