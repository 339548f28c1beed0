"""Which stretches of the spine's curve are vertebral bodies, and how the discs between them lie."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from radseg.pipelines.measure.vertebrae.column import Column, FloatArray, across
from radseg.pipelines.measure.vertebrae.even_grid import EvenGrid

_STEP_MM = 0.5
_TILTS = np.deg2rad([-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0])
_TUBE = (0.7, 0.7)
_OUTLINE = (1.2, 0.95)
_SMOOTH_MM = 1.0
_DIP = 0.15
_CLEAR = 0.25
_FILLED = 0.4
_LEAST_MM = 4.0
_MOST_JOINED = 1.2
_BESIDE = 4
_SLACK_MM = 2.0


@dataclass(frozen=True)
class Stretch:
    """One body along the curve.

    Attributes:
        start_mm: where its core begins, mm along the curve.
        end_mm: where it ends.
    """

    start_mm: float
    end_mm: float

    @property
    def length_mm(self) -> float:
        """How high the body's core is along the curve."""
        return self.end_mm - self.start_mm


@dataclass(frozen=True)
class Disc:
    """The plane between two bodies.

    Attributes:
        along_mm: where it crosses the curve, mm along that.
        tilt: its angle in the sagittal plane against the curve's normal, radians; it rises to the front where positive.
    """

    along_mm: float
    tilt: float

    def distance_mm(self, along_mm: FloatArray, front_mm: FloatArray) -> FloatArray:
        """How far points (n,) along and in front of the curve are from the plane."""
        off = (along_mm - self.along_mm) * np.cos(self.tilt) - front_mm * np.sin(self.tilt)
        return np.asarray(np.abs(off), float)


def find_bodies(grid: EvenGrid, column: Column) -> tuple[list[Stretch], list[Disc]]:
    """The bodies from the lowest to the highest, and the discs between them.

    How full a tube round the curve is, 0.7 of the way to the bodies' walls, falls to nothing in a disc if it is cut
    parallel to that. Where a mask bridges a disc it still dips; such a shallow dip counts as a disc unless both sides
    together are no higher than the bodies beside them, for a body may have a hole.

    Args:
        grid: the mask.
        column: the spine's curve.
    """
    along = np.arange(0.0, float(column.along_mm[-1]), _STEP_MM)
    filled = _filled(grid, column, along, _TUBE).min(axis=1)
    dips, _ = signal.find_peaks(-filled, prominence=_DIP)
    cuts = [0, *(int(dip) for dip in dips), len(filled) - 1]
    found = [_stretch(filled, start, end) for start, end in itertools.pairwise(cuts)]
    joined = _joined([one for one in found if one is not None], filled)
    bodies = [one for one in joined if one.length_mm >= _LEAST_MM]
    if len(bodies) < 2:
        return bodies, []
    outline = _filled(grid, column, along, _OUTLINE)
    return bodies, [_disc(outline, below, above) for below, above in itertools.pairwise(bodies)]


def _filled(grid: EvenGrid, column: Column, along_mm: FloatArray, size: tuple[float, float]) -> FloatArray:
    """How much of a tilted ellipse round each point of the curve is bone, (n, tilts) from 0 to 1.

    Its half axes to the side and to the front are given as shares of the way to the bodies' walls.
    """
    middle, up, depth = column.at(along_mm)
    front, right = across(up)
    steps = np.linspace(-1, 1, 9)
    p, q = (one.ravel() for one in np.meshgrid(steps, steps, indexing="ij"))
    disc = p * p + q * q <= 1
    to_side, to_front = (depth[:, None] * share * one[disc] for share, one in zip(size, (p, q), strict=True))
    mask = grid.inside.astype(np.float32)
    found = []
    for tilt in _TILTS:
        ahead = np.cos(tilt) * front + np.sin(tilt) * up
        points = middle[:, None] + to_side[..., None] * right[:, None] + to_front[..., None] * ahead[:, None]
        index = np.moveaxis(grid.to_index(points), -1, 0)
        bone = ndimage.map_coordinates(mask, index, order=1, output=np.float32)
        found.append(ndimage.gaussian_filter1d(bone.mean(axis=1), _SMOOTH_MM / _STEP_MM, mode="constant"))
    return np.asarray(np.stack(found, axis=1), float)


def _stretch(filled: FloatArray, start: int, end: int) -> Stretch | None:
    """The part between two dips that is at least half as full as its fullest place, None where that isn't bone."""
    part = filled[start : end + 1]
    if part.max() < _FILLED:
        return None
    full = np.flatnonzero(part >= 0.5 * part.max())
    return Stretch((start + int(full[0])) * _STEP_MM, (start + int(full[-1])) * _STEP_MM)


def _joined(stretches: list[Stretch], filled: FloatArray) -> list[Stretch]:
    """The stretches, those put together again that a hole in a body parts."""
    joined = list(stretches)
    while len(joined) > 2:
        best: tuple[float, int] | None = None
        for place, (below, above) in enumerate(itertools.pairwise(joined)):
            between = filled[round(below.end_mm / _STEP_MM) : round(above.start_mm / _STEP_MM) + 1]
            others = [*joined[max(place - _BESIDE, 0) : place], *joined[place + 2 : place + 2 + _BESIDE]]
            if between.min() < _CLEAR:
                continue
            ratio = (above.end_mm - below.start_mm) / float(np.median([one.length_mm for one in others]))
            if ratio < _MOST_JOINED and (best is None or ratio < best[0]):
                best = (ratio, place)
        if best is None:
            break
        place = best[1]
        joined[place : place + 2] = [Stretch(joined[place].start_mm, joined[place + 1].end_mm)]
    return joined


def _disc(outline: FloatArray, below: Stretch, above: Stretch) -> Disc:
    """The plane between two bodies that meets the least bone over the bodies' whole outline; of several the middle."""
    start = max(round((below.end_mm - _SLACK_MM) / _STEP_MM), 0)
    end = min(round((above.start_mm + _SLACK_MM) / _STEP_MM), len(outline) - 1)
    part = outline[start : end + 1]
    least = np.argwhere(part <= part.min() + 0.02)
    tilts = _TILTS[least[:, 1]]
    # the one that is least tilted among the many that miss the bone of a wide disc
    tilt = float(np.median(tilts))
    places = least[least[:, 1] == np.abs(_TILTS - tilt).argmin()][:, 0]
    if not places.size:
        places = least[:, 0]
    return Disc((start + float(np.median(places))) * _STEP_MM, tilt)
