"""Random shapes in a box: hills of a smooth field, and curved tubes."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from radseg.transforms.vertebrae.hounsfield import Values

_STEP_MM = 3.0
"""Grid on which fields are drawn."""


def field(rng: np.random.Generator, extent_mm: Values, wave_mm: float) -> Values:
    """A smooth random field of mean 0 over a box, its hills about as wide as asked, in steps of `_STEP_MM`."""
    knot_mm = 0.5 * wave_mm
    knots = np.ceil(extent_mm / knot_mm).astype(int) + 3
    coarse = torch.from_numpy(rng.normal(0, 1, knots).astype(np.float32))[None, None]
    fine = np.ceil((knots - 1) * knot_mm / _STEP_MM).astype(int)
    smooth = torch.nn.functional.interpolate(coarse, size=fine.tolist(), mode="trilinear", align_corners=True)[0, 0]
    wanted = np.ceil(extent_mm / _STEP_MM).astype(int) + 1
    start = rng.integers(0, fine - wanted + 1)
    part = smooth.numpy()[tuple(slice(at, at + size) for at, size in zip(start, wanted, strict=True))]
    return np.asarray(ndimage.gaussian_filter(part, 0.1 * wave_mm / _STEP_MM))


def spread(field: Values, shape: tuple[int, ...]) -> Values:
    """A field on the grid of the image."""
    whole = torch.from_numpy(np.ascontiguousarray(field))[None, None]
    return np.asarray(torch.nn.functional.interpolate(whole, size=shape, mode="trilinear", align_corners=True)[0, 0])


def tube_distance(rng: np.random.Generator, shape: tuple[int, ...], spacing: Values, wave_mm: float) -> Values:
    """About how far, in mm, each voxel lies from the curves where two random fields are both 0."""
    far = np.zeros(shape, np.float32)
    for _ in range(2):
        hills = field(rng, spacing * shape, wave_mm)
        slope = np.sqrt(sum(part**2 for part in np.gradient(hills, _STEP_MM)))
        far += spread(hills / np.maximum(slope, 0.25 * float(slope.mean()) + 1e-6), shape) ** 2
    return np.sqrt(far)


def tube(rng: np.random.Generator, shape: tuple[int, ...], spacing: Values, wave_mm: float, radius_mm: float) -> Values:
    """1 in curved tubes of a radius, 0 outside."""
    return np.asarray(np.clip(radius_mm - tube_distance(rng, shape, spacing, wave_mm) + 0.5, 0, 1))
