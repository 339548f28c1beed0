"""How strongly tissue weakens X-rays: Hounsfield units to linear attenuation in 1/mm at a beam's energy."""

from __future__ import annotations

import math

import torch

CT_ENERGY_KEV = 70.0
"""Effective energy that Hounsfield units are taken to be measured at (a CT tube at 120 kV)."""

# Mass attenuation in cm²/g and density in g/cm³: Hubbell and Seltzer, NISTIR 5632 (NIST Standard Reference Database
# 126), table 4, "Water, Liquid" and "Bone, Cortical (ICRU-44)".
_ENERGIES_KEV = (30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
_WATER_CM2_PER_G = (0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505)
_BONE_CM2_PER_G = (1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480)
_BONE_G_PER_CM3 = 1.92
_MM_PER_CM = 10.0


def water_per_mm(energy_kev: float = CT_ENERGY_KEV) -> float:
    """Linear attenuation of water in 1/mm, 0.0206 at 60 keV and 0.0194 at 70 keV.

    The tables of NISTIR 5632 are interpolated between their energies on logarithmic scales.

    Raises:
        ValueError: the energy is outside 30 to 150 keV.
    """
    return _interpolated(_WATER_CM2_PER_G, energy_kev) / _MM_PER_CM


def cortical_bone_per_mm(energy_kev: float = CT_ENERGY_KEV) -> float:
    """Linear attenuation of cortical bone (ICRU-44, 1.92 g/cm³) in 1/mm, 0.0604 at 60 keV.

    Raises:
        ValueError: the energy is outside 30 to 150 keV.
    """
    return _interpolated(_BONE_CM2_PER_G, energy_kev) * _BONE_G_PER_CM3 / _MM_PER_CM


def attenuation_per_mm(hu: torch.Tensor, energy_kev: float = CT_ENERGY_KEV) -> torch.Tensor:
    """Linear attenuation μ = μ_water (1 + b · HU / 1000), never below 0, in 1/mm.

    Below 0 HU b is 1: mixtures of air and water. Above it is the mixture of water and cortical bone that has this HU at
    the CT's energy, so b is 1 at that energy and larger where the beam is softer: bone stands out more at low tube
    voltages.

    Args:
        hu: any shape; an integer tensor becomes float32.
        energy_kev: effective energy of the X-ray beam.

    Raises:
        ValueError: the energy is outside 30 to 150 keV.
    """
    water = water_per_mm(energy_kev)
    stands_out = (cortical_bone_per_mm(energy_kev) / water - 1) / (
        cortical_bone_per_mm(CT_ENERGY_KEV) / water_per_mm(CT_ENERGY_KEV) - 1
    )
    values = hu if hu.is_floating_point() else hu.to(torch.float32)
    per_mm = values * (water / 1000)
    if stands_out != 1:
        per_mm = torch.where(per_mm > 0, per_mm * stands_out, per_mm)
    return per_mm.add_(water).clamp_(min=0)


def _interpolated(table: tuple[float, ...], energy_kev: float) -> float:
    if not _ENERGIES_KEV[0] <= energy_kev <= _ENERGIES_KEV[-1]:
        raise ValueError(
            f"energy_kev must be between {_ENERGIES_KEV[0]:g} and {_ENERGIES_KEV[-1]:g}, got {energy_kev}."
        )
    above = next(n for n, known in enumerate(_ENERGIES_KEV) if n > 0 and energy_kev <= known)
    low, high = _ENERGIES_KEV[above - 1], _ENERGIES_KEV[above]
    share = math.log(energy_kev / low) / math.log(high / low)
    return math.exp((1 - share) * math.log(table[above - 1]) + share * math.log(table[above]))
