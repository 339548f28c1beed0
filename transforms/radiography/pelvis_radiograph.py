"""A pelvic X-ray from the surfaces of hip bones and sacrum: simulated body, femurs and lumbar spine around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from radseg.transforms.radiography.attenuation import cortical_bone_per_mm, water_per_mm
from radseg.transforms.radiography.cone_beam import ConeBeam
from radseg.transforms.radiography.implicit_shapes import Grid, Point
from radseg.transforms.radiography.line_integrals import line_integrals
from radseg.transforms.radiography.lumbar_spine import lumbar_vertebra
from radseg.transforms.radiography.pelvis_soft_tissue import MUSCLE, pelvic_soft_tissue
from radseg.transforms.radiography.projection import Projection
from radseg.transforms.radiography.proximal_femur import femur, fit_socket
from radseg.transforms.radiography.surface_thickness import chord_lengths, moved_inwards, surface_mask


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


def project_pelvis(bones: PelvisBones, beam: ConeBeam, energy_kev: float, rng: np.random.Generator) -> Projection:
    """Project a pelvis in a simulated body; the mask is exactly where a ray meets a hip bone or the sacrum.

    Bones are a cortical shell around a spongy core. Soft tissue, proximal femurs and lumbar vertebrae are simple shapes
    drawn from `rng`; femurs and vertebrae are in the picture and not in the mask.

    Args:
        bones: the surfaces.
        beam: the geometry; all bones lie between source and detector.
        energy_kev: effective energy of the beam.
        rng: draws everything that is simulated.

    Raises:
        ValueError: a surface is open or not between source and detector, or the energy is outside 30 to 150 keV.
    """
    water, cortical = water_per_mm(energy_kev), cortical_bone_per_mm(energy_kev)
    muscle = MUSCLE * water
    cortical = water + (cortical - water) * rng.uniform(0.75, 1.1)
    spongy = water + (cortical - water) * rng.uniform(0.12, 0.3)
    shell_mm = rng.uniform(0.9, 1.8)
    low, high = bones.box()
    sockets = [fit_socket(hip.vertices_ras, hip.faces) for hip in (bones.right_hip, bones.left_hip)]
    right, left = (_point(centre) for centre, _ in sockets)
    grid, tissue = pelvic_soft_tissue(low, high, right, left, rng)
    total = line_integrals(tissue * water, grid.affine_ras, beam, dtype=torch.float64)
    mask = torch.zeros(beam.rows, beam.columns, dtype=torch.bool)
    grain = _grain(rng, beam)
    for bone in (bones.right_hip, bones.left_hip, bones.sacrum):
        whole = chord_lengths(bone.vertices_ras, bone.faces, beam)
        inner_vertices = moved_inwards(bone.vertices_ras, bone.faces, shell_mm)
        core = torch.minimum(chord_lengths(inner_vertices, bone.faces, beam), whole)
        total += (cortical - muscle) * (whole - core) + (spongy - muscle) * core * grain
        mask |= surface_mask(bone.vertices_ras, bone.faces, beam)
    others = [
        femur(place, radius - rng.uniform(2.0, 4.0), side, 1.1 * (high[2] - low[2]), rng)
        for place, (_, radius), side in zip((right, left), sockets, (1.0, -1.0), strict=True)
    ]
    others += _lumbar_spine(bones.sacrum, rng)
    strength = rng.uniform(0.4, 0.8)  # the simulated bones' against the real ones'
    for other_grid, whole, core in others:
        excess = strength * ((cortical - muscle) * (whole - core) + (spongy - muscle) * core)
        total += line_integrals(excess, other_grid.affine_ras, beam, dtype=torch.float64) * grain
    return Projection(total.clamp_(min=0), mask)


def _lumbar_spine(sacrum: Surface, rng: np.random.Generator) -> list[tuple[Grid, torch.Tensor, torch.Tensor]]:
    """L5 to L3 above the sacrum's upper face, ever more upright."""
    points = sacrum.vertices_ras
    middle = points[:, 0].mean()
    central = points[(points[:, 0] - middle).abs() < 15]
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


def _grain(rng: np.random.Generator, beam: ConeBeam) -> torch.Tensor:
    """(rows, columns) around 1: the fine trabecular pattern."""
    knots = torch.from_numpy(rng.standard_normal((beam.rows, beam.columns)))
    smooth = torch.nn.functional.avg_pool2d(knots[None, None], 3, stride=1, padding=1)[0, 0]
    return 1 + rng.uniform(0.05, 0.3) * smooth


def _point(place: torch.Tensor) -> Point:
    x, y, z = place.tolist()
    return x, y, z
