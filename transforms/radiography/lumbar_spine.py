"""Simple lumbar vertebrae above a sacrum, so that a pelvic X-ray doesn't end at its upper edge."""

from __future__ import annotations

import math

import numpy as np
import torch

from radseg.transforms.radiography.implicit_shapes import Grid, Point, cone, ellipsoid, joined


def lumbar_vertebra(
    centre_ras: Point, tilt_degrees: float, size: float, rng: np.random.Generator
) -> tuple[Grid, torch.Tensor, torch.Tensor]:
    """A vertebra: body, pedicles, articular, transverse and spinous processes.

    Args:
        centre_ras: middle of the body, mm.
        tilt_degrees: how far its upper face leans forwards.
        size: 1 for a body 48 mm wide.
        rng: varies the parts' sizes.

    Returns:
        Its grid, and two (i, j, k) float64: the share of each voxel inside the bone, and inside its spongy core.
    """
    x, y, z = centre_ras
    half = size * 62
    grid = Grid.around((x - half, y - size * 78, z - half * 0.7), (x + half, y + size * 30, z + half * 0.7), 1.5)
    turn = math.radians(tilt_degrees)
    cosine, sine = math.cos(turn), math.sin(turn)

    def at(right: float, front: float, up: float) -> Point:
        right, front, up = size * right, size * front, size * up
        return x + right, y + front * cosine + up * sine, z - front * sine + up * cosine

    across, forth, above = (axis - middle for axis, middle in zip(grid.axes(), centre_ras, strict=True))
    front, up = forth * cosine - above * sine, forth * sine + above * cosine
    height, waist = size * rng.uniform(12.5, 15), rng.uniform(0.1, 0.2)
    narrowing = 1 - waist * (1 - (up / height) ** 2).clamp(min=0)
    radius = ((across / 24) ** 2 + (front / 17) ** 2).sqrt() / size
    body = joined((radius - narrowing) * size * 19, up.abs() - height, -3)
    arch = torch.full_like(body, 1e3)
    reach = rng.uniform(36, 46)
    for side in (-1.0, 1.0):
        arch = joined(arch, cone(grid, at(side * 15, -10, 5), at(side * 17, -28, 4), size * 4.5, size * 4), 3)
        process = cone(grid, at(side * 17, -26, 4), at(side * reach, -32, 7), size * 4, size * 3)
        arch = joined(arch, process, 3)
        for up_mm in (18.0, -18.0):
            arch = joined(arch, cone(grid, at(side * 17, -30, 0), at(side * 18, -36, up_mm), size * 5, size * 4.5), 3)
        arch = joined(arch, cone(grid, at(side * 17, -30, 2), at(0, -44, -4), size * 4, size * 4), 3)
    arch = joined(arch, ellipsoid(grid, at(0, -58, -8), (size * 4, size * 17, size * 11)), 3)
    bone = joined(body, arch, 2)
    return grid, grid.filled(bone), grid.filled(bone + rng.uniform(1.0, 1.8))
