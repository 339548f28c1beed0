"""The simulated surroundings of a pelvis: a femur's head in the socket's sphere, tissue that varies with the seed."""

import closed_surfaces
import numpy as np
import pytest
import torch

from radseg.transforms.radiography.implicit_shapes import Grid, cone, ellipsoid, joined, smooth_noise
from radseg.transforms.radiography.lumbar_spine import lumbar_vertebra
from radseg.transforms.radiography.pelvis_soft_tissue import MUSCLE, pelvic_soft_tissue
from radseg.transforms.radiography.proximal_femur import femur, fit_socket

GRID = Grid.around((-20, -20, -20), (20, 20, 20), 1.0)


def volume_mm3(grid: Grid, distance_mm: torch.Tensor) -> float:
    return float(grid.filled(distance_mm).sum()) * grid.spacing_mm**3


def test_a_ball_and_a_rod_have_their_volumes() -> None:
    ball = ellipsoid(GRID, (0, 0, 0), (12, 12, 12))
    assert abs(volume_mm3(GRID, ball) / (4 / 3 * np.pi * 12**3) - 1) < 0.01
    rod = cone(GRID, (0, 0, -10), (0, 0, 10), 6, 6)
    assert abs(volume_mm3(GRID, rod) / (np.pi * 36 * 20 + 4 / 3 * np.pi * 216) - 1) < 0.01


def test_joined_shapes_hold_both() -> None:
    first, second = ellipsoid(GRID, (-6, 0, 0), (8, 8, 8)), ellipsoid(GRID, (6, 0, 0), (8, 8, 8))
    both = joined(first, second, 3)
    assert bool((both <= torch.minimum(first, second) + 1e-9).all())
    shared = joined(first, second, -3)
    assert bool((shared >= torch.maximum(first, second) - 1e-9).all())


def test_noise_is_smooth_and_its_own_for_each_seed() -> None:
    noise = smooth_noise(np.random.default_rng(0), GRID, 10.0)
    assert noise.shape == GRID.shape
    assert float(noise.diff(dim=0).abs().max()) < 0.5 * float(noise.max() - noise.min())
    assert not torch.equal(noise, smooth_noise(np.random.default_rng(1), GRID, 10.0))


def test_the_socket_is_found_in_a_block_with_a_hollow() -> None:
    centre, radius = fit_socket(*closed_surfaces.hip_bone(1.0))
    assert torch.allclose(centre, torch.tensor([100.0, 0, 0], dtype=torch.float64), atol=1.0)
    assert abs(radius - 25) < 1


@pytest.mark.parametrize("size", [0.05, 50.0])
def test_a_bone_without_a_socket_or_in_other_units_is_refused(size: float) -> None:
    vertices = size * torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    with pytest.raises(ValueError, match="no hip socket of 16 to 36 mm radius in it; coordinates must be in mm"):
        fit_socket(vertices, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))


def test_a_femur_lies_around_its_head_and_goes_outwards_and_down() -> None:
    for lateral in (1.0, -1.0):
        grid, whole, core = femur((80.0, 0.0, 0.0), 24.0, lateral, 150.0, np.random.default_rng(0))
        assert bool((core <= whole + 1e-9).all())
        x, y, z = grid.axes()
        in_head = ((x - 80) ** 2 + y**2 + z**2).sqrt() < 22
        assert float(whole[in_head.expand_as(whole)].min()) == 1
        low = whole * (z < -60)
        assert lateral * (float((low * x).sum() / low.sum()) - 80) > 15


def test_a_vertebra_has_a_shell_around_a_core() -> None:
    grid, whole, core = lumbar_vertebra((0.0, 0.0, 0.0), 15.0, 1.0, np.random.default_rng(0))
    millilitres = float(whole.sum()) * grid.spacing_mm**3 / 1000
    assert 30 < millilitres < 100
    assert 0.4 < float(core.sum() / whole.sum()) < 0.95


def test_soft_tissue_is_between_gas_and_muscle_and_never_the_same() -> None:
    box = ((-60.0, -35.0, -50.0), (60.0, 35.0, 55.0))
    heads = ((40.0, 0.0, -15.0), (-40.0, 0.0, -15.0))
    bodies = [pelvic_soft_tissue(*box, *heads, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    grid, tissue = bodies[0]
    assert torch.equal(tissue, bodies[1][1])
    assert bodies[2][0] != grid
    assert 0 <= float(tissue.min()) <= float(tissue.max()) <= MUSCLE + 1e-9
    assert tissue.shape == grid.shape
    assert not tissue[0, 0].any()  # air around the body
    beside_bones = tissue[:, int(grid.shape[1] // 2), int(grid.shape[2] // 2)]
    assert float(beside_bones.max()) > 0.9
