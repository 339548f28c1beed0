"""Signed distances in mm to simple solids (negative inside) and how much of a voxel a solid fills."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Position = tuple[FloatArray, FloatArray, FloatArray]
Point = Sequence[float]


def ellipse(x: FloatArray, y: FloatArray, half_x: float | FloatArray, half_y: float | FloatArray) -> FloatArray:
    """Return the approximate distance to an ellipse about the origin, exact to first order at its edge."""
    radius = np.sqrt((x / half_x) ** 2 + (y / half_y) ** 2)
    gradient = np.sqrt((x / half_x**2) ** 2 + (y / half_y**2) ** 2)
    return (radius - 1) * (radius + 1e-6) / (gradient + 1e-6 / np.minimum(half_x, half_y))


def ellipsoid(position: Position, center: Point, half_axes: Point) -> FloatArray:
    """Return the approximate distance to an ellipsoid, exact to first order at its surface."""
    scaled = [(p - c) / h for p, c, h in zip(position, center, half_axes, strict=True)]
    radius = np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2)
    gradient = np.sqrt(sum((s / h) ** 2 for s, h in zip(scaled, half_axes, strict=True)))
    return np.asarray((radius - 1) * (radius + 1e-6) / (gradient + 1e-6 / min(half_axes)))


def tube(position: Position, start: Point, end: Point, radius_start: float, radius_end: float) -> FloatArray:
    """Return the distance to a tapered tube with round ends."""
    along = [e - s for s, e in zip(start, end, strict=True)]
    relative = [p - s for p, s in zip(position, start, strict=True)]
    length_squared = sum(a * a for a in along) or 1.0
    share = np.clip(sum(r * a for r, a in zip(relative, along, strict=True)) / length_squared, 0.0, 1.0)
    squared = sum((r - share * a) ** 2 for r, a in zip(relative, along, strict=True))
    return np.asarray(np.sqrt(squared) - (radius_start + share * (radius_end - radius_start)))


def smooth_minimum(first: FloatArray, second: FloatArray, width: float) -> FloatArray:
    """Return the union of two distances, its seam rounded over `width` mm."""
    blend = np.clip(0.5 + 0.5 * (second - first) / width, 0.0, 1.0)
    return second + (first - second) * blend - width * blend * (1 - blend)


def smooth_maximum(first: FloatArray, second: FloatArray, width: float) -> FloatArray:
    """Return the intersection of two distances, its edge rounded over `width` mm."""
    return -smooth_minimum(-first, -second, width)


def fill(distance: FloatArray, voxel_mm: float) -> FloatArray:
    """Return the share of each voxel that lies inside a solid, from the distance at the voxel's centre."""
    return np.clip(0.5 - distance / voxel_mm, 0.0, 1.0)


def smoothstep(low: float, high: float, value: FloatArray) -> FloatArray:
    """Return 0 below `low`, 1 above `high` and a smooth cubic between."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3 - 2 * share)


def paint(image_hu: FloatArray, distance: FloatArray, hu: float | FloatArray, voxel_mm: float) -> None:
    """Mix `hu` into an image in place, by the share of each voxel that the solid fills."""
    share = fill(distance, voxel_mm)
    image_hu += share * (hu - image_hu)


def inside(distance: FloatArray) -> NDArray[np.bool_]:
    """Return where a voxel's centre is inside, rounded first so that ties fall alike on every machine."""
    return np.asarray(np.round(distance, 6) < 0)
