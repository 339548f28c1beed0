"""Hounsfield units to attenuation: air is 0, water is NIST's water, bone is NIST's bone at every energy."""

import pytest
import torch

from radseg.transforms.radiography.attenuation import attenuation_per_mm, cortical_bone_per_mm, water_per_mm


def test_water_and_bone_are_those_of_nist_at_its_energies() -> None:
    assert abs(water_per_mm(60) - 0.02059) < 1e-9
    assert abs(water_per_mm(80) - 0.01837) < 1e-9
    assert abs(cortical_bone_per_mm(60) - 0.3148 * 0.192) < 1e-9
    assert 0.01837 < water_per_mm(70) < 0.02059


def test_air_lets_everything_through_and_water_is_at_zero() -> None:
    per_mm = attenuation_per_mm(torch.tensor([-2048.0, -1000.0, -500.0, 0.0, 1000.0]))
    water = water_per_mm()
    torch.testing.assert_close(per_mm, torch.tensor([0.0, 0.0, water / 2, water, 2 * water]))


def test_bone_of_the_ct_is_bone_at_any_energy_and_stands_out_more_when_soft() -> None:
    bone_hu = torch.tensor([1000 * (cortical_bone_per_mm() / water_per_mm() - 1)])
    for energy in (40.0, 55.0, 70.0, 90.0):
        assert abs(float(attenuation_per_mm(bone_hu, energy)) / cortical_bone_per_mm(energy) - 1) < 1e-5
    contrast = [float(attenuation_per_mm(bone_hu, energy)) / water_per_mm(energy) for energy in (45.0, 90.0)]
    assert contrast[0] > contrast[1]


def test_integers_are_taken_and_the_input_is_left_alone() -> None:
    hu = torch.tensor([-1000, 0, 500], dtype=torch.int16)
    assert attenuation_per_mm(hu).dtype == torch.float32
    values = torch.tensor([100.0])
    attenuation_per_mm(values, 50)
    assert values.item() == 100


def test_energies_outside_the_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="between 30 and 150"):
        attenuation_per_mm(torch.zeros(1), 20)
