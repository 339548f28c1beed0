"""The three bones of a pelvis as surfaces, and simulated ones that fit them: proximal femurs, and lumbar vertebrae."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from radseg.transforms.radiography.implicit_shapes import Grid, Point
from radseg.transforms.radiography.lumbar_spine import lumbar_vertebra
from radseg.transforms.radiography.proximal_femur import femur, fit_socket

SimulatedBone = tuple[Grid, torch.Tensor, torch.Tensor]
"""A grid, and two (i, j, k) float64: the share of each voxel inside the bone, and inside its spongy core."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed surface: vertices (n, 3) float64 in RAS mm, faces (m, 3) int64."""

    vertices_ras: torch.Tensor
    faces: torch.Tensor

    def scaled(self, by: torch.Tensor) -> Surface:
        """The surface with its coordinates multiplied by (3,)."""
        return Surface(self.vertices_ras * by, self.faces)


@dataclass(frozen=True, eq=False)
class PelvisBones:
    """The three bones of a pelvis."""

    right_hip: Surface
    left_hip: Surface
    sacrum: Surface

    def scaled(self, by: torch.Tensor) -> PelvisBones:
        """The bones with their coordinates multiplied by (3,): another build of the same pelvis."""
        return PelvisBones(self.right_hip.scaled(by), self.left_hip.scaled(by), self.sacrum.scaled(by))

    def box(self) -> tuple[Point, Point]:
        """Lower and upper corner of all three, RAS mm."""
        points = torch.cat([bone.vertices_ras for bone in (self.right_hip, self.left_hip, self.sacrum)])
        low, high = points.amin(dim=0).tolist(), points.amax(dim=0).tolist()
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    @cached_property
    def sockets(self) -> tuple[tuple[Point, float], tuple[Point, float]]:
        """Centre and radius of the right hip's socket and of the left one's, RAS mm.

        Raises:
            ValueError: a hip bone has none.
        """
        (right, right_mm), (left, left_mm) = (
            fit_socket(hip.vertices_ras, hip.faces) for hip in (self.right_hip, self.left_hip)
        )
        return (_point(right), right_mm), (_point(left), left_mm)


def fitting_femurs(bones: PelvisBones, rng: np.random.Generator) -> list[SimulatedBone]:
    """A right and a left one, their heads in the sockets; sizes and angles are drawn.

    Raises:
        ValueError: a hip bone has no socket.
    """
    low, high = bones.box()
    return [
        femur(place, radius - rng.uniform(2.0, 4.0), side, 1.1 * (high[2] - low[2]), rng)
        for (place, radius), side in zip(bones.sockets, (1.0, -1.0), strict=True)
    ]


def fitting_vertebrae(sacrum: Surface, rng: np.random.Generator) -> list[SimulatedBone]:
    """L5 to L3 above the sacrum's upper face, ever more upright; sizes and tilts are drawn.

    Raises:
        ValueError: the surface has too few vertices about its middle to tell where that face is.
    """
    points = sacrum.vertices_ras
    middle = points[:, 0].mean()
    central = points[(points[:, 0] - middle).abs() < 15]
    if len(torch.unique(central[:, 1])) < 2:
        raise ValueError("the sacrum has no vertices in its middle; coordinates must be in mm.")
    front = central[central[:, 1] > central[:, 1].quantile(0.75)]
    promontory = front[front[:, 2].argmax()]
    size = float(rng.uniform(0.92, 1.08))
    at = promontory + torch.tensor([0.0, -14.0 * size, 19.0 * size], dtype=points.dtype)
    tilt = float(rng.uniform(12, 26))
    vertebrae = []
    for _ in range(3):
        vertebrae.append(lumbar_vertebra(_point(at), tilt, size, rng))
        step = torch.tensor([rng.normal(0, 0.8), 0.35 * tilt * size, 37.0 * size], dtype=points.dtype)
        at, tilt = at + step, tilt - float(rng.uniform(8, 14))
    return vertebrae


def _point(place: torch.Tensor) -> Point:
    x, y, z = place.tolist()
    return x, y, z
