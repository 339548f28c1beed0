"""A pelvic X-ray from the surfaces of hip bones and sacrum: simulated body, femurs and lumbar spine around them."""

from __future__ import annotations

import numpy as np
import torch

from radseg.transforms.radiography.attenuation import cortical_bone_per_mm, water_per_mm
from radseg.transforms.radiography.cone_beam import ConeBeam
from radseg.transforms.radiography.line_integrals import line_integrals
from radseg.transforms.radiography.pelvis_bones import PelvisBones, fitting_femurs, fitting_vertebrae
from radseg.transforms.radiography.pelvis_soft_tissue import MUSCLE, pelvic_soft_tissue
from radseg.transforms.radiography.projection import Projection
from radseg.transforms.radiography.surface_thickness import chord_lengths, moved_inwards, surface_mask


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
    (right, _), (left, _) = bones.sockets
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
    others = [*fitting_femurs(bones, rng), *fitting_vertebrae(bones.sacrum, rng)]
    strength = rng.uniform(0.4, 0.8)  # the simulated bones' against the real ones'
    for other_grid, whole, core in others:
        excess = strength * ((cortical - muscle) * (whole - core) + (spongy - muscle) * core)
        total += line_integrals(excess, other_grid.affine_ras, beam, dtype=torch.float64) * grain
    return Projection(total.clamp_(min=0), mask)


def _grain(rng: np.random.Generator, beam: ConeBeam) -> torch.Tensor:
    """(rows, columns) around 1: the fine trabecular pattern."""
    knots = torch.from_numpy(rng.standard_normal((beam.rows, beam.columns)))
    smooth = torch.nn.functional.avg_pool2d(knots[None, None], 3, stride=1, padding=1)[0, 0]
    return 1 + rng.uniform(0.05, 0.3) * smooth
