"""Upper ends of thigh bones that fit a pelvis: the socket's sphere, and a simple femur whose head lies in it."""

from __future__ import annotations

import math

import numpy as np
import torch

from radseg.transforms.radiography.implicit_shapes import Grid, Point, cone, ellipsoid, joined
from radseg.transforms.radiography.surface_normals import outward_normals

_SOCKET_RADII_MM = torch.arange(20.0, 33.0, 1.0, dtype=torch.float64)
_SLACK_MM = 4.0  # how far the fitted sphere may leave the radii that are voted for
_VOTE_MM = 3.0


def fit_socket(vertices_ras: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The centre (3,) and radius in mm of the sphere that a hip bone's socket (acetabulum) is part of.

    Every vertex votes for the points along its outward normal at all possible radii; in a hollow sphere they meet. The
    sphere is then fitted by least squares to the vertices that voted for the winner.

    Args:
        vertices_ras: (n, 3), mm, of one hip bone.
        faces: (m, 3).

    Raises:
        ValueError: no part of the surface is a hollow sphere of that size: no hip bone, or not in mm.
    """
    outward = outward_normals(vertices_ras, faces)
    votes = vertices_ras[:, None] + _SOCKET_RADII_MM.to(vertices_ras)[:, None] * outward[:, None]
    cells = torch.floor((votes - votes.amin(dim=(0, 1))) / _VOTE_MM).to(torch.int64)
    # neighbouring cells count together, as the true centre may lie at a cell's side
    found, which, count = torch.unique(cells.reshape(-1, 3), dim=0, return_inverse=True, return_counts=True)
    place = {tuple(cell): number for number, cell in enumerate(found.tolist())}
    best = max(
        torch.argsort(count, descending=True)[:50].tolist(),
        key=lambda number: sum(
            int(count[place[near]]) for near in _neighbours(found[number].tolist()) if near in place
        ),
    )
    centre = votes.reshape(-1, 3)[which == best].mean(dim=0)
    for _ in range(5):
        away = vertices_ras - centre
        distance = torch.linalg.vector_norm(away, dim=1)
        faces_centre = (away * outward).sum(dim=1) < -0.9 * distance
        radius = float(distance[faces_centre & (distance < float(_SOCKET_RADII_MM[-1]) + 3)].median())
        of_socket = faces_centre & ((distance - radius).abs() < 4)
        # |v|² = 2 v·c + (r² − |c|²) is linear in c
        points = vertices_ras[of_socket] - centre
        system = torch.cat([2 * points, torch.ones_like(points[:, :1])], dim=1)
        solution = torch.linalg.lstsq(system, (points**2).sum(dim=1, keepdim=True)).solution[:, 0]
        centre = centre + solution[:3]
        radius = math.sqrt(float(solution[3] + solution[:3] @ solution[:3]))
    smallest, largest = float(_SOCKET_RADII_MM[0]) - _SLACK_MM, float(_SOCKET_RADII_MM[-1]) + _SLACK_MM
    if not smallest <= radius <= largest:
        raise ValueError(f"no hip socket of {smallest:g} to {largest:g} mm radius in it; coordinates must be in mm.")
    return centre, radius


def femur(
    head_ras: Point, head_radius_mm: float, lateral: float, length_mm: float, rng: np.random.Generator
) -> tuple[Grid, torch.Tensor, torch.Tensor]:
    """A simple proximal femur: head, neck, both trochanters, shaft.

    Args:
        head_ras: centre of the head.
        head_radius_mm: of the head.
        lateral: 1 for the right femur (outside is +R), −1 for the left.
        length_mm: how far it reaches below the head.
        rng: varies the angles and sizes.

    Returns:
        Its grid, and two (i, j, k) float64: the share of each voxel inside the bone, and inside its spongy core.
    """
    x, y, z = head_ras
    size = head_radius_mm / 24
    neck_angle, version = math.radians(180 - rng.uniform(122, 136)), math.radians(rng.uniform(-5, 20))
    neck_mm = size * rng.uniform(44, 52)
    outward = math.sin(neck_angle) * math.cos(version)
    base = (
        x + lateral * neck_mm * outward,
        y - neck_mm * math.sin(neck_angle) * math.sin(version),
        z - neck_mm * math.cos(neck_angle),
    )
    lean = math.tan(math.radians(rng.uniform(-2, 8)))
    end = (base[0] - lateral * length_mm * lean, base[1], z - length_mm)
    low = (min(x - 30, base[0] - 34, end[0] - 22), base[1] - 40, z - length_mm)
    high = (max(x + 30, base[0] + 34, end[0] + 22), max(y, base[1]) + 34, z + 34)
    grid = Grid.around(low, high, 1.5)
    middle = tuple(a + 0.4 * (b - a) for a, b in zip(base, end, strict=True))
    shaft = size * rng.uniform(12.5, 15)
    body = cone(grid, base, (middle[0], middle[1], middle[2]), size * 17, shaft)
    body = torch.minimum(body, cone(grid, (middle[0], middle[1], middle[2]), end, shaft, shaft))
    body = joined(body, cone(grid, head_ras, base, head_radius_mm * 0.68, size * 18), 8)
    greater = (base[0] + lateral * size * 9, base[1] - 4, base[2] + size * rng.uniform(8, 15))
    body = joined(body, ellipsoid(grid, greater, (size * 13, size * 16, size * 21)), 6)
    lesser = (base[0] - lateral * size * 13, base[1] - size * 9, base[2] - size * rng.uniform(34, 42))
    body = joined(body, ellipsoid(grid, lesser, (size * 9, size * 9, size * 13)), 6)
    body = joined(body, ellipsoid(grid, head_ras, (head_radius_mm,) * 3), 4)
    depth_below = (base[2] - grid.axes()[2]) / 70
    shell_mm = 1.3 + rng.uniform(3.0, 5.5) * depth_below.clamp(0, 1)
    return grid, grid.filled(body), grid.filled(body + shell_mm)


def _neighbours(cell: list[int]) -> list[tuple[int, int, int]]:
    around = (-1, 0, 1)
    return [(cell[0] + i, cell[1] + j, cell[2] + k) for i in around for j in around for k in around]
