"""Simulated soft tissue around a pelvis: trunk and thighs of fat and muscle, bladder, bowel with gas."""

from __future__ import annotations

import numpy as np
import torch

from radseg.transforms.radiography.implicit_shapes import Grid, Point, ellipsoid, joined, smooth_noise

FAT = 0.92
"""Attenuation of fat relative to water at diagnostic energies; muscle below likewise (from their HU, −80 and 50)."""
MUSCLE = 1.05
_VOXEL_MM = 3.0


def pelvic_soft_tissue(
    low_ras: Point, high_ras: Point, right_head_ras: Point, left_head_ras: Point, rng: np.random.Generator
) -> tuple[Grid, torch.Tensor]:
    """The body without its bones, another one with each state of `rng`.

    Args:
        low_ras: lower corner of the box around the hip bones, mm.
        high_ras: upper corner.
        right_head_ras: centre of the right femoral head.
        left_head_ras: centre of the left one.
        rng: varies size, fat, texture and gas.

    Returns:
        Its grid, and (i, j, k) float64: attenuation relative to water.
    """
    width, height = high_ras[0] - low_ras[0], high_ras[2] - low_ras[2]
    x_middle, y_middle = (low_ras[0] + high_ras[0]) / 2, (low_ras[1] + high_ras[1]) / 2 + rng.uniform(-8, 8)
    heads_z = (right_head_ras[2] + left_head_ras[2]) / 2
    fat_mm = rng.gamma(3.0, 6.0) + 6
    half_width = width / 2 + rng.uniform(18, 32) + fat_mm
    half_depth = (high_ras[1] - low_ras[1]) / 2 + rng.uniform(8, 30) + fat_mm
    grid = Grid.around(
        (x_middle - half_width - 12, y_middle - half_depth - 12, low_ras[2] - 0.8 * height),
        (x_middle + half_width + 12, y_middle + half_depth + 12, high_ras[2] + 0.8 * height),
        _VOXEL_MM,
    )
    y = grid.axes()[1]
    inside_mm = _body(grid, (x_middle, y_middle, heads_z), half_width, half_depth, rng)
    tissue = 0.5 * (MUSCLE + FAT) + 0.5 * (MUSCLE - FAT) * torch.tanh(
        1.2 + rng.uniform(1.0, 2.5) * smooth_noise(rng, grid, rng.uniform(18, 40))
    )
    fat_here = fat_mm * (1 + 0.25 * smooth_noise(rng, grid, 90) + 0.4 * ((y_middle - y) / half_depth).clamp(0, 1))
    lean = ((inside_mm - fat_here) / 4 + 0.5).clamp_(0, 1)
    tissue = FAT + (tissue - FAT) * lean
    bladder_mm = ellipsoid(
        grid,
        (x_middle + rng.uniform(-8, 8), y_middle + 0.3 * half_depth, heads_z + rng.uniform(15, 35)),
        (rng.uniform(20, 45), rng.uniform(18, 32), rng.uniform(15, 35)),
    )
    tissue = torch.lerp(tissue, torch.full_like(tissue, 1.02), grid.filled(bladder_mm))
    cavity_low = (x_middle - 0.42 * width, y_middle - 0.1 * half_depth, heads_z + 0.12 * height)
    cavity_high = (x_middle + 0.42 * width, y_middle + 0.55 * half_depth, high_ras[2] + 0.35 * height)
    tissue = _with_bowel(tissue, grid, cavity_low, cavity_high, rng)
    rectum = (x_middle + rng.uniform(-8, 8), y_middle - 0.25 * half_depth, heads_z + rng.uniform(10, 60))
    if rng.random() < 0.5:
        radii = (rng.uniform(8, 20), rng.uniform(8, 18), rng.uniform(10, 28))
        tissue = tissue * (1 - rng.uniform(0.4, 1.0) * grid.filled(ellipsoid(grid, rectum, radii)))
    return grid, tissue * grid.filled(-inside_mm)


def _body(grid: Grid, middle: Point, half_width: float, half_depth: float, rng: np.random.Generator) -> torch.Tensor:
    """(i, j, k), how deep below the skin in mm; negative outside. The trunk is a superellipse, widest at the hips."""
    x, y, z = grid.axes()
    roundness = rng.uniform(2.1, 2.7)
    above_hips = (z - middle[2]) / half_width
    waist = 1 - rng.uniform(-0.03, 0.16) * (above_hips - 0.2).clamp(0, 1.2)
    belly = 1 + rng.uniform(-0.1, 0.15) * above_hips.clamp(0, 1)
    crotch = middle[2] - rng.uniform(70, 100)
    towards_crotch = ((middle[2] - z) / (middle[2] - crotch)).clamp(0, 1)
    depth_here = half_depth * belly * (1 - 0.25 * towards_crotch**2)
    trunk_mm = _superellipse(x - middle[0], y - middle[1], half_width * waist, depth_here, roundness)
    trunk_mm = joined(-trunk_mm, crotch - z, -20).neg_()
    gap_mm = rng.uniform(-12, 30)
    below = ((crotch + 60 - z) / 200).clamp(0, 1)
    thigh_width = (half_width / 2 - gap_mm / 4) * (1 - 0.1 * below)
    body_mm = trunk_mm
    for side in (-1.0, 1.0):
        # thighs grow thinner from the inside, where the legs part, and run out upwards within the trunk
        across = x - middle[0] - side * (half_width - thigh_width)
        thigh_mm = _superellipse(across, y - middle[1], thigh_width, half_depth * (0.95 - 0.15 * below), 2.2)
        thigh_mm = thigh_mm - 0.45 * (z - crotch).clamp(min=0)
        body_mm = joined(-body_mm, -thigh_mm, 25).neg_()
    return body_mm


def _superellipse(
    x: torch.Tensor, y: torch.Tensor, half_width: torch.Tensor, half_depth: torch.Tensor, power: float
) -> torch.Tensor:
    """How far inside a cylinder's skin along the line to its axis."""
    size = ((x / half_width).abs() ** power + (y / half_depth).abs() ** power).clamp(min=1e-9) ** (1 / power)
    return (x * x + y * y).sqrt() * (1 / size - 1)


def _with_bowel(
    tissue: torch.Tensor, grid: Grid, low_ras: Point, high_ras: Point, rng: np.random.Generator
) -> torch.Tensor:
    """Loops of bowel in a box: some gas in chains of bubbles, some stool mottled with it."""
    texture = smooth_noise(rng, grid, 7.0)
    for _ in range(int(rng.integers(3, 16))):
        at = [float(rng.uniform(low, high)) for low, high in zip(low_ras, high_ras, strict=True)]
        if rng.random() < 0.5:  # the ascending and the descending colon lie at the sides
            side = low_ras[0] if rng.random() < 0.5 else high_ras[0]
            at[0] = 0.75 * side + 0.25 * (low_ras[0] + high_ras[0]) / 2 + float(rng.normal(0, 8))
        stool = rng.random() < 0.4
        gas = float(rng.uniform(0.5, 1.0))
        for _ in range(int(rng.integers(1, 6))):
            radii = (float(rng.uniform(6, 22)), float(rng.uniform(6, 20)), float(rng.uniform(6, 24)))
            there = grid.filled(ellipsoid(grid, (at[0], at[1], at[2]), radii))
            share = (0.35 + 0.3 * texture).clamp(0, 1) if stool else gas
            tissue = tissue * (1 - share * there)
            at = [place + float(rng.normal(0, 1)) * radius for place, radius in zip(at, radii, strict=True)]
    return tissue
