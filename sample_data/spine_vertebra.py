"""One vertebra as signed distances: the body with its deformity, the arch with its processes, and the disc above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radseg.sample_data.shapes import Point, Position, ellipse, smooth_maximum, smooth_minimum, tube
from radseg.sample_data.spine_column import Vertebra

FloatArray = NDArray[np.float64]


def local_position(vertebra: Vertebra, position_lps: Position) -> Position:
    """Return coordinates in mm along the vertebra's own left, posterior and superior axes, from the body's middle."""
    shifted = [p - c for p, c in zip(position_lps, vertebra.center_lps, strict=True)]
    u, v, w = (sum(s * axis[row] for row, s in enumerate(shifted)) for axis in vertebra.axes_lps.T)
    return np.asarray(u), np.asarray(v), np.asarray(w)


def body(vertebra: Vertebra, local: Position) -> FloatArray:
    """Return the distance to the vertebral body, waisted, with hollow endplates and its loss of height."""
    u, v, w = local
    half_width, half_depth, height = vertebra.half_width_mm, vertebra.half_depth_mm, vertebra.height_mm
    fracture, standing = vertebra.fracture, vertebra.standing_mm
    wedge, biconcave, crush = fracture.loss_as("wedge"), fracture.loss_as("biconcave"), fracture.loss_as("crush")
    # A crushed body spreads, and a wedged one buckles in front.
    half_width, half_depth = half_width * (1 + 0.15 * crush), half_depth * (1 + 0.2 * crush + 0.1 * wedge)
    waist = 1 - 0.11 * np.clip(1 - (2 * w / standing) ** 2, 0.0, 1.0)
    side = ellipse(u, v, half_width * waist, half_depth * waist)
    hollow = np.clip(1 - (u / (0.6 * half_width)) ** 2, 0.0, 1.0)
    back = v - (0.80 * half_depth - 1.5 * hollow)
    central = np.clip(1 - (u / half_width) ** 2 - (v / half_depth) ** 2, 0.0, 1.0)
    anterior = np.clip((0.8 * half_depth - v) / (1.8 * half_depth), 0.0, 1.0)
    dent = (1.6 + biconcave * height / 2) * np.minimum(central * 1.35, 1.0)
    upper = w - (standing / 2 - dent - wedge * height * anterior)
    lower = -w - (standing / 2 - dent)
    return smooth_maximum(smooth_maximum(side, back, 2.0), smooth_maximum(upper, lower, 1.0), 1.5)


def _stretched(local: Position, factor: float) -> Position:
    """Squash the vertical axis, so that round tubes become upright plates `factor` times as tall as thick."""
    return local[0], local[1], local[2] / factor


def _plate(
    local: Position, start: Point, end: Point, radius_start: float, radius_end: float, tall: float
) -> FloatArray:
    squashed = [(point[0], point[1], point[2] / tall) for point in (start, end)]
    return tube(_stretched(local, tall), squashed[0], squashed[1], radius_start, radius_end)


def arch(vertebra: Vertebra, local: Position) -> FloatArray:
    """Return the distance to the pedicles, laminae and the articular, transverse and spinous processes."""
    u, v, w = local
    mirrored = (np.abs(u), v, w)
    height, depth, thoracic = vertebra.height_mm, vertebra.half_depth_mm, vertebra.thoracic
    size = vertebra.half_width_mm / (22.0 - 6.0 * thoracic)
    pillar = (15.0 - 3.5 * thoracic) * size
    behind = depth * 0.8 + 13.0 * size
    canal_back = behind + (7.5 - 1.5 * thoracic) * size
    pedicle = _plate(mirrored, (pillar - 1, depth * 0.55, 0.2 * height), (pillar, behind, 0.16 * height), 3.6, 3.4, 1.7)
    lamina = _plate(mirrored, (pillar - 1.5, behind, 0.0), (0.0, canal_back + 2.0, -0.12 * height), 3.0, 2.8, 2.6)
    superior = tube(mirrored, (pillar, behind, 0.1 * height), (pillar + 1.5, behind - 1.0, 0.66 * height), 4.2, 3.2)
    inferior = tube(
        mirrored, (pillar - 1, behind + 2, -0.1 * height), (pillar - 3.0, behind + 5.0, -0.78 * height), 4.2, 3.0
    )
    tip = (
        pillar + (21.0 - 5.0 * thoracic) * size,
        behind + (2.0 + 11.0 * thoracic) * size,
        (0.05 + 0.2 * thoracic) * height,
    )
    transverse = _plate(mirrored, (pillar, behind, 0.1 * height), tip, 3.6, 2.8 + 0.8 * thoracic, 1.3)
    length, drop = (25.0 - 3.0 * thoracic) * size, (0.30 + 0.85 * thoracic) * height
    end = (0.0, canal_back + length, -drop)
    spinous = _plate(
        local, (0.0, canal_back + 1.0, -0.12 * height), end, 2.4, 3.0 - 0.4 * thoracic, 2.9 - 1.5 * thoracic
    )
    whole = smooth_minimum(pedicle, lamina, 2.0)
    for part in (superior, inferior, transverse, spinous):
        whole = smooth_minimum(whole, part, 1.5)
    canal = ellipse(u, v - (depth * 0.8 + 8.0 * size), 10.5 * size, 8.0 * size)
    return np.maximum(whole, -canal)


def canal(vertebra: Vertebra, local: Position) -> FloatArray:
    """Return the distance to the spinal canal over the height of the vertebra and the disc above."""
    u, v, w = local
    size = vertebra.half_width_mm / (22.0 - 6.0 * vertebra.thoracic)
    across = ellipse(u, v - (vertebra.half_depth_mm * 0.8 + 8.0 * size), 10.0 * size, 7.5 * size)
    return np.maximum(across, np.abs(w) - vertebra.height_mm)


def disc(vertebra: Vertebra, above: Vertebra, position_lps: Position) -> FloatArray:
    """Return the distance to the disc above a vertebra; it reaches into both endplates, which are painted over it."""
    lower, upper = local_position(vertebra, position_lps), local_position(above, position_lps)
    half_width, half_depth = vertebra.half_width_mm + 0.5, vertebra.half_depth_mm + 0.5
    across = ellipse(lower[0], lower[1], half_width, half_depth)
    back = lower[1] - 0.84 * half_depth
    # Between the middle of this body and the middle of the next, less an edge that stays clear of the waists.
    central = np.clip(-across / 5.0, 0.0, 1.0)
    anterior = np.clip((0.8 * half_depth - lower[1]) / (1.8 * half_depth), 0.0, 1.0)
    wedge = vertebra.fracture.loss_as("wedge") * vertebra.height_mm * anterior
    share = 0.5 - 0.3 * central
    floor = share * vertebra.standing_mm - 1.0 - wedge - lower[2]
    ceiling = upper[2] + share * above.standing_mm - 1.0
    return np.asarray(np.maximum(np.maximum(across, back), np.maximum(floor, ceiling)))
