"""The chest around and between the lungs: wall, ribs, heart, great vessels, airways, diaphragm and belly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radseg.sample_data.random_fields import smooth_field
from radseg.sample_data.shapes import (
    Position,
    ellipse,
    ellipsoid,
    paint,
    smooth_maximum,
    smooth_minimum,
    smoothstep,
    tube,
)
from radseg.sample_data.spine_column import Spine, build_column
from radseg.sample_data.spine_vertebra import arch, body, local_position

FloatArray = NDArray[np.float64]
FAT_HU, MUSCLE_HU, BLOOD_HU, AIR_HU = -100.0, 50.0, 42.0, -1000.0
_SPINE_Y = 52.0


@dataclass(frozen=True)
class Chest:
    """The build of a synthetic patient's chest.

    Attributes:
        width: Scale of the chest from side to side.
        depth: Scale of the chest from front to back.
        fat_mm: Thickness of the fat under the skin.
        heart: Scale of the heart.
        inspiration_mm: How far the diaphragm is lowered.
        blood_hu: Density of the blood: 42 without contrast medium, up to 200 with it.
    """

    width: float = 1.0
    depth: float = 1.0
    fat_mm: float = 14.0
    heart: float = 1.0
    inspiration_mm: float = 0.0
    blood_hu: float = BLOOD_HU


def cavity(chest: Chest, position: Position) -> FloatArray:
    """Return the distance to the pleura of the chest wall: an egg, blunt at the apex and open below."""
    x, y, z = position
    rise = np.clip((z + 45.0) / 172.0, 0.0, 0.999)
    taper = np.sqrt(np.sqrt(1 - rise**2) * (1 - rise**3))
    taper = np.maximum(taper, 0.04)
    broader_behind = 1 + 0.08 * np.clip(y / 90.0, -1.0, 1.0)
    return np.asarray(
        ellipse(x / broader_behind, y - 14.0 * rise**2, 128.0 * chest.width * taper, 92.0 * chest.depth * taper)
    )


def _heart(chest: Chest, position: Position) -> FloatArray:
    x, y, z = position
    # The heart's long axis points forwards, down and to the left.
    along, across = 0.8 * (x - 20.0) - 0.6 * (y + 32.0), 0.6 * (x - 20.0) + 0.8 * (y + 32.0)
    lower = z + 52.0 + 0.25 * (x - 20.0)
    size = chest.heart
    return ellipsoid((along, across, lower), (0.0, 0.0, 0.0), (68.0 * size, 46.0 * size, 58.0 * size))


def mediastinum(chest: Chest, position: Position) -> FloatArray:
    """Return the distance to what lies between the lungs: the heart, the great vessels and the spine."""
    x, y, z = position
    upper = smoothstep(-20.0, 30.0, z)
    great = ellipse(x - 4.0, y + 12.0, 33.0 + 5.0 * upper, 50.0 + 0.0 * z)
    spine = ellipse(x - 3.0, y - _SPINE_Y, 27.0 + 0.0 * z, 30.0 + 0.0 * z)
    behind = np.maximum(np.abs(x) - 22.0, -(y - 10.0))
    front = np.maximum(np.abs(x - 3.0) - 5.0, y + 20.0)
    hilum = tube((np.abs(x - 3.0), y, z), (20.0, 8.0, 0.0), (44.0, 10.0, -8.0), 17.0, 9.0)
    whole = smooth_minimum(_heart(chest, position), great, 10.0)
    for part in (spine, behind, front, hilum):
        whole = smooth_minimum(whole, part, 8.0)
    return whole


def diaphragm(chest: Chest, position: Position) -> FloatArray:
    """Return the distance to all that lies below the diaphragm, two domes of which the right one is higher."""
    x, y, z = position
    top = np.where(x < 0, -58.0, -70.0) - chest.inspiration_mm
    side = (np.abs(x) - 55.0 * chest.width) / (75.0 * chest.width)
    back = np.clip((y + 15.0) / (95.0 * chest.depth), -0.6, 1.0)
    return np.asarray(
        0.75 * (z - top + 48.0 * side**2 + 62.0 * np.clip(back, 0.0, 1.0) ** 2 + 14.0 * np.clip(-back, 0.0, 1.0))
    )


def lungs(chest: Chest, position: Position) -> FloatArray:
    """Return the distance to both lungs."""
    free = smooth_maximum(cavity(chest, position), -mediastinum(chest, position), 5.0)
    return smooth_maximum(free, -diaphragm(chest, position), 4.0)


def paint_chest(chest: Chest, position: Position, rng: np.random.Generator, voxel_mm: float) -> FloatArray:
    """Return the clean image in HU of everything but the lungs' own tissue.

    Args:
        chest: The patient's build.
        position: x, y and z in LPS mm, all of the image's shape.
        rng: Source of the textures.
        voxel_mm: Distance of voxels within a slice.
    """
    x, y, z = position
    shape = (x.shape[0], x.shape[1], x.shape[2])
    wall = cavity(chest, position)
    streaks = smooth_field(rng, shape, (1.6, 1.6, 1.0))
    image = np.full(shape, AIR_HU)
    shoulder = smoothstep(40.0, 120.0, z)
    half_width = (154.0 + 10.0 * shoulder) * chest.width + chest.fat_mm
    half_depth = (112.0 - 14.0 * shoulder) * chest.depth + chest.fat_mm
    skin = ellipse(x, y - 4.0 - 8.0 * shoulder, half_width, half_depth)
    skin = smooth_maximum(skin, -(y - 4.0 + 0.93 * half_depth), 14.0)
    paint(image, skin, 10.0, voxel_mm)
    paint(image, skin + 2.0, FAT_HU + 6.0 * np.clip(streaks, -2.0, 2.0), voxel_mm)
    _paint_wall(image, chest, position, wall, skin, streaks, voxel_mm)
    paint(image, wall, FAT_HU, voxel_mm)
    _paint_belly(image, chest, position, wall, streaks, voxel_mm)
    _paint_mediastinum(image, chest, position, wall, voxel_mm)
    _paint_spine(image, position, voxel_mm)
    table = ellipse(x, y - 12.0 - float(half_depth.max()) + 300.0, 420.0, 300.0)
    paint(image, np.maximum(-table, table - 30.0), -900.0, voxel_mm)
    for below in (0.0, 30.0):
        paint(image, np.abs(table - below) - 1.2, -200.0, voxel_mm)
    return image


def _paint_wall(
    image: FloatArray,
    chest: Chest,
    position: Position,
    wall: FloatArray,
    skin: FloatArray,
    streaks: FloatArray,
    voxel_mm: float,
) -> None:
    x, y, z = position
    side = np.abs(x)
    lean = MUSCLE_HU - 90.0 * smoothstep(0.9, 1.9, streaks)
    within = skin + 0.8 * chest.fat_mm
    paint(image, np.maximum(wall - 10.0, within), lean, voxel_mm)
    upper = smoothstep(-40.0, 20.0, z)
    pectoral = ellipse(side - 62.0, y + 88.0 * chest.depth, 52.0, 4.0 + 11.0 * upper)
    dorsal = ellipse(side - 138.0 * chest.width, y - 22.0, 11.0 + 8.0 * upper, 44.0)
    erector = ellipse(side - 27.0, y - 100.0 * chest.depth, 24.0 + 0.0 * z, 17.0 + 0.0 * z)
    trapezius = ellipse(side - 70.0, y - 92.0 * chest.depth, 66.0 + 0.0 * z, 5.0 + 9.0 * upper)
    for muscle in (pectoral, dorsal, erector, trapezius):
        paint(image, np.maximum(np.maximum(muscle, within), 1.0 - wall), lean, voxel_mm)
    # Ribs slope down to the front; between them lies muscle, and cartilage joins them to the sternum.
    height = z + 0.42 * (95.0 - y)
    phase = np.abs(np.mod(height, 27.0) - 13.5)
    rib = smooth_maximum(np.abs(wall - 5.5) - 3.8, 0.85 * (phase - 5.5), 3.0)
    rib = np.maximum(rib, 24.0 - side)
    cartilage = smoothstep(-52.0, -64.0, y)
    marrow = 190.0 + 420.0 * smoothstep(-2.5, -0.3, rib)
    paint(image, rib, marrow + (95.0 - marrow) * cartilage, voxel_mm)
    sternum = ellipse(
        x, y + 96.0 * chest.depth * np.sqrt(np.clip(1 - ((z + 45.0) / 185.0) ** 2, 0.1, 1.0)) + 3.0, 18.0, 6.0
    )
    sternum = np.maximum(sternum, -(z + 62.0))
    paint(image, sternum, 150.0 + 330.0 * smoothstep(-2.5, -0.3, sternum), voxel_mm)
    blade = tube((side, y, 0.0 * z), (82.0, 99.0, 0.0), (142.0, 62.0, 0.0), 2.6, 4.5)
    blade = np.maximum(np.maximum(blade, within), np.abs(z - 52.0) - 62.0)
    paint(image, blade, 600.0, voxel_mm)
    clavicle = tube((side, y, z), (14.0, -62.0, 98.0), (120.0, -30.0, 128.0), 6.5, 5.0)
    paint(image, clavicle, 200.0 + 450.0 * smoothstep(-3.0, -0.3, clavicle), voxel_mm)


def _paint_belly(
    image: FloatArray, chest: Chest, position: Position, wall: FloatArray, streaks: FloatArray, voxel_mm: float
) -> None:
    x, y, z = position
    below = np.maximum(diaphragm(chest, position) + 2.0, wall + 2.0)
    paint(image, below - 2.0, 45.0, voxel_mm)
    paint(image, below + 3.0, -85.0, voxel_mm)
    liver = np.maximum(below, x - 18.0 + 0.35 * y)
    paint(image, liver, 62.0 + 6.0 * np.clip(streaks, -2.0, 2.0), voxel_mm)
    spleen = np.maximum(below, ellipse(x - 92.0 * chest.width, y - 34.0, 30.0 + 0.0 * z, 44.0 + 0.0 * z))
    paint(image, spleen, 52.0, voxel_mm)
    stomach = np.maximum(below + 2.0, ellipsoid(position, (58.0, -28.0, -112.0), (42.0, 46.0, 44.0)))
    paint(image, stomach, np.where(y < -38.0, -900.0, 25.0), voxel_mm)


def _paint_mediastinum(image: FloatArray, chest: Chest, position: Position, wall: FloatArray, voxel_mm: float) -> None:
    x, y, z = position
    blood = chest.blood_hu
    heart = np.maximum(_heart(chest, position) + 3.0, -diaphragm(chest, position) + 2.0)
    heart = np.maximum(heart, wall + 4.0)
    paint(image, heart - 3.0, 40.0, voxel_mm)
    paint(image, heart + 9.0, 0.8 * blood + 8.0, voxel_mm)
    ascending = np.maximum(ellipse(x + 12.0, y + 26.0, 16.0 + 0.0 * z, 16.0 + 0.0 * z), np.abs(z - 15.0) - 38.0)
    descending = np.maximum(ellipse(x - 21.0, y - 34.0, 11.5 + 0.0 * z, 11.5 + 0.0 * z), z - 52.0)
    aortic_arch = tube(position, (-9.0, -22.0, 48.0), (20.0, 28.0, 50.0), 13.0, 12.0)
    trunk = tube(position, (14.0, -28.0, -8.0), (18.0, -4.0, 14.0), 13.0, 12.0)
    branches = np.minimum(
        tube(position, (18.0, -4.0, 14.0), (46.0, 10.0, 4.0), 11.0, 7.0),
        tube(position, (14.0, -6.0, 8.0), (-40.0, 4.0, -2.0), 10.0, 7.0),
    )
    cava = np.maximum(ellipse(x + 27.0, y + 16.0, 9.0 + 0.0 * z, 10.0 + 0.0 * z), -z - 20.0)
    neck = np.minimum(
        tube(position, (-8.0, -20.0, 55.0), (-26.0, -12.0, 140.0), 7.0, 6.0),
        tube(position, (14.0, -6.0, 55.0), (28.0, -6.0, 140.0), 6.0, 5.0),
    )
    for vessel in (ascending, descending, aortic_arch, trunk, branches, cava, neck):
        paint(image, vessel, blood, voxel_mm)
    esophagus = ellipse(x - 6.0, y - 24.0, 8.0 + 0.0 * z, 6.0 + 0.0 * z)
    paint(image, esophagus, 38.0, voxel_mm)
    airway = tube(position, (0.0, -2.0, 150.0), (1.0, 8.0, 24.0), 8.5, 8.5)
    mirrored = (np.abs(x - 1.0), y, z)
    airway = smooth_minimum(airway, tube(mirrored, (0.0, 8.0, 24.0), (34.0, 14.0, -2.0), 7.0, 5.0), 3.0)
    airway = smooth_minimum(airway, tube(mirrored, (34.0, 14.0, -2.0), (52.0, 20.0, -22.0), 4.5, 3.0), 2.0)
    paint(image, airway - 2.0, 20.0, voxel_mm)
    paint(image, airway, -980.0, voxel_mm)


def _paint_spine(image: FloatArray, position: Position, voxel_mm: float) -> None:
    """Paint the thoracic column, discs as one soft column behind the bodies' place."""
    x, y, z = position
    column = build_column(Spine("T7", curvature=0.8))
    heights = [vertebra.center_lps[2] for vertebra in column]
    center_y = np.interp(z, heights, [vertebra.center_lps[1] for vertebra in column]) + _SPINE_Y
    paint(image, ellipse(x, y - center_y, 15.0 + 0.0 * z, 13.0 + 0.0 * z), 85.0, voxel_mm)
    paint(image, ellipse(x, y - center_y - 20.0, 10.0 + 0.0 * z, 9.0 + 0.0 * z), 25.0, voxel_mm)
    for vertebra in column:
        reach = np.abs(z[0, 0] - vertebra.center_lps[2]) < 50.0
        if not reach.any():
            continue
        near = (slice(None), slice(None), reach)
        local = local_position(vertebra, (x[near], y[near] - _SPINE_Y, z[near]))
        part = image[near]
        for bone, core in ((body(vertebra, local), 170.0), (arch(vertebra, local), 260.0)):
            paint(part, bone, core + 430.0 * smoothstep(-2.4, -0.4, bone), voxel_mm)
        image[near] = part
