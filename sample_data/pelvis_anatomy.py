"""The bones of a synthetic pelvis and what lies around them, as signed distances in mm.

Positions are relative to the middle of the line between the hip joints: x to the patient's left, y to posterior, z to
superior. All is symmetric but for what `Pelvis` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radseg.sample_data.shapes import FloatArray, Position, ellipse, ellipsoid, smooth_maximum, smooth_minimum, tube


@dataclass(frozen=True)
class Pelvis:
    """A patient's build.

    Attributes:
        scale: Size of the bones.
        width: Width of the pelvis relative to its height; above 1 is rather female.
        wing_flare: How far the iliac wings lean outwards; 1 is usual.
        cortex_mm: Thickness of the compact bone; it thins with age.
        cortex_hu: Density of the compact bone.
        marrow_hu: Density of the spongy bone.
        fat_mm: Fat under the skin.
        body: Half axes of the trunk at the hips in mm, sideways and from front to back, without the fat.
        femur_degrees: How far each thigh is spread, right and left.
    """

    scale: float = 1.0
    width: float = 1.0
    wing_flare: float = 1.0
    cortex_mm: float = 3.0
    cortex_hu: float = 1000.0
    marrow_hu: float = 210.0
    fat_mm: float = 18.0
    body: tuple[float, float] = (165.0, 100.0)
    femur_degrees: tuple[float, float] = (6.0, 6.0)


def hip_bones(pelvis: Pelvis, position: Position) -> FloatArray:
    """Return the distance to both hip bones."""
    x, y, z = _in_bone_size(pelvis, position)
    side = (np.abs(x), y, z)
    crest = 112.0 - 42.0 * ((y - 8.0) / 78.0) ** 2 - 30.0 * (np.maximum(side[0] - 78.0, 0.0) / 48.0) ** 2
    bowl = ellipsoid(side, (0.0, 6.0, 118.0), (128.0 * pelvis.wing_flare, 84.0, 128.0))
    wing = smooth_maximum(np.abs(bowl) - 4.5, z - crest, 4.0)
    wing = smooth_maximum(wing, 8.0 - z, 4.0)
    wing = smooth_maximum(wing, 44.0 + 0.12 * (z - 60.0) - side[0], 4.0)
    rim = np.maximum(np.abs(z - crest + 5.0) - 7.0, np.abs(bowl) - 8.0)
    wing = smooth_minimum(wing, np.maximum(rim, 52.0 - side[0]), 4.0)
    body = ellipsoid(side, (86.0, 4.0, 6.0), (32.0, 30.0, 36.0))
    body = smooth_minimum(body, tube(side, (80.0, 14.0, 20.0), (54.0, 52.0, 62.0), 13.0, 10.0), 10.0)
    ischium = tube(side, (82.0, 14.0, -18.0), (64.0, 24.0, -72.0), 19.0, 15.0)
    lower = tube(side, (64.0, 20.0, -78.0), (15.0, -24.0, -52.0), 10.0, 7.0)
    upper = tube(side, (82.0, -8.0, -4.0), (15.0, -36.0, -32.0), 13.0, 10.0)
    pubis = ellipsoid(side, (12.0, -34.0, -42.0), (9.5, 9.0, 19.0))
    bone = smooth_minimum(wing, body, 14.0)
    for part in (ischium, lower, upper, pubis):
        bone = smooth_minimum(bone, part, 6.0)
    socket = ellipsoid(side, (93.0, -2.0, 0.0), (27.0, 27.0, 27.0))
    bone = smooth_maximum(bone, -socket, 2.0)
    return np.maximum(bone, 2.2 - side[0]) * pelvis.scale  # the symphysis is cartilage


def sacrum(pelvis: Pelvis, position: Position) -> FloatArray:
    """Return the distance to the sacrum with its foramina and the coccyx."""
    x, y, z = _in_bone_size(pelvis, position)
    down = np.clip((92.0 - z) / 105.0, 0.0, 1.0)
    bend = 46.0 + 34.0 * np.sin(np.pi * np.clip(down, 0.0, 1.0)) ** 0.9
    cross = ellipse(x, y - bend, 54.0 - 38.0 * down, 20.0 - 11.0 * down)
    bone = smooth_maximum(cross, np.abs(z - 39.5) - 52.5, 3.0)
    for level in range(4):
        height, apart = 76.0 - 21.0 * level, 25.0 - 3.5 * level
        bone = smooth_maximum(
            bone, -tube((np.abs(x), y, z), (apart, 20.0, height), (apart, 110.0, height), 5.5, 5.5), 2.0
        )
    coccyx = tube((x, y, z), (0.0, 48.0, -14.0), (0.0, 36.0, -38.0), 7.0, 4.0)
    return np.minimum(bone, coccyx) * pelvis.scale


def thighs_and_spine(pelvis: Pelvis, position: Position) -> FloatArray:
    """Return the distance to the bones that don't belong to the pelvis: both femurs and the last two vertebrae."""
    x, y, z = _in_bone_size(pelvis, position)
    bones = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), 1e3)
    for sign, degrees in zip((-1.0, 1.0), pelvis.femur_degrees, strict=True):
        lean = np.tan(np.radians(degrees - 6.0)) * 180.0
        side = (sign * x, y, z)
        femur = ellipsoid(side, (93.0, -2.0, 0.0), (23.5, 23.5, 23.5))
        neck = tube(side, (95.0, -2.0, -3.0), (128.0, 4.0, -36.0), 14.0, 17.0)
        trochanter = ellipsoid(side, (138.0, 8.0, -24.0), (14.0, 18.0, 24.0))
        shaft = tube(side, (130.0, 4.0, -44.0), (118.0 + lean, 0.0, -230.0), 19.0, 14.0)
        femur = smooth_minimum(smooth_minimum(femur, neck, 5.0), smooth_minimum(trochanter, shaft, 8.0), 6.0)
        bones = np.minimum(bones, femur)
    for level in range(2):
        height = 112.0 + 36.0 * level
        vertebra = smooth_maximum(ellipse(x, y - 34.0, 26.0, 18.0), np.abs(z - height) - 14.0, 3.0)
        process = tube((np.abs(x), y, z), (20.0, 50.0, height), (44.0, 56.0, height + 4.0), 6.0, 4.0)
        spine = ellipsoid((x, y, z), (0.0, 74.0, height - 6.0), (5.0, 16.0, 11.0))
        bones = np.minimum(bones, np.minimum(vertebra, np.minimum(process, spine)))
    return bones * pelvis.scale


def skin(pelvis: Pelvis, position: Position) -> FloatArray:
    """Return the distance to the skin: a trunk that parts into two thighs."""
    x, y, z = position
    half_x, half_y = (half + pelvis.fat_mm for half in pelvis.body)
    waist = np.clip((z - 40.0) / 140.0, 0.0, 1.0)
    trunk = np.maximum(ellipse(x, y - 8.0, half_x * (1.0 - 0.12 * waist), half_y), -70.0 * pelvis.scale - z)
    thigh = np.maximum(ellipse(np.abs(x) - 0.54 * half_x, y - 4.0, 0.47 * half_x, 0.85 * half_y), z + 40.0)
    return smooth_minimum(trunk, thigh, 20.0)


def _in_bone_size(pelvis: Pelvis, position: Position) -> Position:
    x, y, z = position
    return x / (pelvis.scale * pelvis.width), y / pelvis.scale, z / pelvis.scale
