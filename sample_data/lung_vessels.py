"""The vessels of a lung: tapering tubes that branch from the hilum to the pleura."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radseg.sample_data.random_fields import uniform
from radseg.sample_data.shapes import Position, fill, tube

FloatArray = NDArray[np.float64]
_GENERATIONS = 6
# First headings of the branches, lateral, posterior and superior: to all parts of a lung.
_LOBES = (
    (0.5, -0.7, 0.6),
    (0.6, 0.2, 0.9),
    (0.9, -0.5, 0.0),
    (0.7, 0.6, 0.3),
    (0.5, -0.6, -0.7),
    (0.5, 0.6, -0.8),
    (0.9, 0.1, -0.6),
    (0.4, 0.9, 0.0),
    (0.6, -0.9, -0.2),
    (0.8, -0.1, 0.5),
    (0.4, -0.3, 1.0),
    (0.7, 0.8, -0.4),
)


@dataclass(frozen=True)
class Segment:
    """A tapering piece of a vessel in LPS mm."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius_start: float
    radius_end: float
    generation: int


def _direction(rng: np.random.Generator) -> FloatArray:
    vector = np.array([uniform(rng, -1.0, 1.0) for _ in range(3)])
    return np.asarray(vector / math.sqrt(float((vector**2).sum()) + 1e-9))


def grow_tree(rng: np.random.Generator, hilum: tuple[float, float, float], side: int) -> list[Segment]:
    """Grow the vessels of one lung.

    Args:
        rng: Source of the directions.
        hilum: Where the tree starts, in LPS mm.
        side: 1 for the left lung, −1 for the right.

    Returns:
        Segments from the trunk to the twigs; what grows out of the lung is for the caller to cut.
    """
    segments: list[Segment] = []
    tips = [(np.array(hilum), np.array([side * x, y, z]) + 0.25 * _direction(rng), 4.2, 33.0) for x, y, z in _LOBES]
    for generation in range(_GENERATIONS):
        next_tips = []
        for start, heading, radius, length in tips:
            heading = heading / math.sqrt(float((heading**2).sum()))
            end = start + heading * length * uniform(rng, 0.75, 1.2)
            thinner = 0.84 * radius
            segments.append(Segment(tuple(start), tuple(end), radius, thinner, generation))
            next_tips += [
                (end, heading + 0.75 * _direction(rng), share * thinner, 0.78 * length) for share in (0.95, 0.8)
            ]
        tips = next_tips
    return segments


def fill_segments(segments: list[Segment], position: Position, spacing_mm: tuple[float, float, float]) -> FloatArray:
    """Return the share of each voxel that the segments fill.

    Args:
        segments: The vessels.
        position: x, y and z in LPS mm on an axis-aligned grid, each of the image's shape.
        spacing_mm: Distance of the grid's voxels along x, y and z.
    """
    x, y, z = position
    filled = np.zeros(x.shape)
    first = (x[0, 0, 0], y[0, 0, 0], z[0, 0, 0])
    voxel = spacing_mm[0]
    for segment in segments:
        box = []
        margin = segment.radius_start + voxel
        for origin, spacing, length, start, end in zip(
            first, spacing_mm, x.shape, segment.start, segment.end, strict=True
        ):
            low = max(math.floor((min(start, end) - margin - origin) / spacing), 0)
            high = min(math.ceil((max(start, end) + margin - origin) / spacing) + 1, length)
            box.append(slice(low, max(high, low)))
        near = (box[0], box[1], box[2])
        if filled[near].size == 0:
            continue
        distance = tube(
            (x[near], y[near], z[near]), segment.start, segment.end, segment.radius_start, segment.radius_end
        )
        # A twig thinner than a voxel fills only part of it.
        thin = min(1.0, (segment.radius_start + segment.radius_end) / (1.2 * voxel))
        filled[near] = np.maximum(filled[near], thin * fill(distance, voxel))
    return filled
