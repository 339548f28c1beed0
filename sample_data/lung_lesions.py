"""Pneumonia in a synthetic lung: ground-glass patches, fuzzy and peripheral, and consolidation within some of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radseg.sample_data.random_fields import smooth_field, uniform
from radseg.sample_data.shapes import Position, ellipsoid, smooth_minimum, smoothstep

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Pneumonia:
    """How much of a lung is diseased.

    Attributes:
        patches: Number of ground-glass patches.
        consolidated: How many of the patches hold a consolidation.
        radius_mm: Smallest and largest radius of a patch.
        heights_mm: Lowest and highest z of the patches' middles; slices far from them stay clear.
        glass_hu: Density of the ground glass, −600 to −350.
    """

    patches: int
    consolidated: int
    radius_mm: tuple[float, float] = (14.0, 30.0)
    heights_mm: tuple[float, float] = (-70.0, 30.0)
    glass_hu: float = -480.0


@dataclass(frozen=True)
class Lesions:
    """Distances in mm to the ground glass and to the consolidations, before the lungs cut them."""

    glass: FloatArray
    consolidation: FloatArray


def place_lesions(
    pneumonia: Pneumonia,
    lung: FloatArray,
    position: Position,
    rng: np.random.Generator,
    sigma_voxels: tuple[float, float, float],
) -> Lesions:
    """Place patches near the pleura, more behind than in front.

    Args:
        pneumonia: How much there is.
        lung: Distance to the lungs.
        position: x, y and z in LPS mm.
        rng: Source of places, sizes and ragged edges.
        sigma_voxels: Smoothness of the ragged edges.
    """
    x, y, z = position
    ragged = smooth_field(rng, (x.shape[0], x.shape[1], x.shape[2]), sigma_voxels)
    low, high = pneumonia.heights_mm
    depth = np.round(-lung, 6)
    places = np.flatnonzero(
        (depth > 5.0) & (depth < 14.0) & (z >= low) & (z <= high) & (y > -25.0) & (np.abs(x) > 50.0)
    )
    glass, consolidation = np.full(x.shape, 1000.0), np.full(x.shape, 1000.0)
    for number in range(pneumonia.patches):
        place = np.unravel_index(places[int(rng.integers(0, len(places)))], x.shape)
        center = (float(x[place]), float(y[place]), float(z[place]))
        radius = uniform(rng, *pneumonia.radius_mm)
        axes = (radius * uniform(rng, 0.7, 1.1), radius * uniform(rng, 0.7, 1.2), radius * uniform(rng, 0.6, 0.9))
        glass = smooth_minimum(glass, ellipsoid(position, center, axes), 4.0)
        if number < pneumonia.consolidated:
            core = (axes[0] * 0.55, axes[1] * 0.6, axes[2] * 0.7)
            consolidation = smooth_minimum(consolidation, ellipsoid(position, center, core), 3.0)
    return Lesions(glass=glass + 4.5 * ragged, consolidation=consolidation + 3.0 * ragged)


def tissue_hu(
    lesions: Lesions, pneumonia: Pneumonia, healthy_hu: FloatArray, bronchi: FloatArray, texture: FloatArray
) -> FloatArray:
    """Return the density of lung tissue, in HU, with its lesions.

    Args:
        lesions: Where they are.
        pneumonia: How dense the ground glass is.
        healthy_hu: Density of the healthy lung.
        bronchi: Share of each voxel filled by small airways, which stay black within a consolidation.
        texture: Random field that makes the ground glass uneven.
    """
    glass_hu = pneumonia.glass_hu + 45.0 * np.clip(texture, -2.0, 2.0)
    hu = healthy_hu + (glass_hu - healthy_hu) * smoothstep(5.0, -6.0, lesions.glass)
    solid = smoothstep(2.5, -3.0, lesions.consolidation)
    hu = hu + (15.0 + 15.0 * np.clip(texture, -2.0, 2.0) - hu) * solid
    return np.asarray(hu + (-850.0 - hu) * solid * bronchi)
