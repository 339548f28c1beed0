"""The spine's own curve, through the middles of the vertebral bodies of a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, ndimage

from radseg.pipelines.measure.vertebrae.even_grid import STEP_MM, EvenGrid

FloatArray = npt.NDArray[np.float64]

_BEND_MM = 90.0
_LEAST_DEPTH_MM = 4.0
_SHARE_OF_DEPTH = 0.55
_LOCAL_MM = 60.0
_FRONT = 0.15
_CORE_MM = 2.0
_OFF_MM = 3.0
_SHORTEST_MM = 6.0


@dataclass(frozen=True)
class Column:
    """A curve up the spine, sampled at every plane of an even grid.

    Attributes:
        points_mm: from the lowest to the highest, RAS mm, (n, 3).
        up: unit vectors along the curve, RAS, (n, 3).
        depth_mm: from the curve to the nearest wall of a body, in an axial plane, (n,).
        along_mm: way along the curve from its first point, (n,).
    """

    points_mm: FloatArray
    up: FloatArray
    depth_mm: FloatArray
    along_mm: FloatArray

    def at(self, along_mm: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Points (…, 3), directions up (…, 3) and depths (…) at ways along the curve."""
        points, up = (
            np.stack([np.interp(along_mm, self.along_mm, values[:, axis]) for axis in range(3)], axis=-1)
            for values in (self.points_mm, self.up)
        )
        return points, up, np.interp(along_mm, self.along_mm, self.depth_mm)

    def placed(self, points_mm: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Where points (n, 3) in RAS mm lie: mm along the curve, to the right and to the front of it, and its depth."""
        along = np.interp(points_mm[:, 2], self.points_mm[:, 2], self.along_mm)
        for _ in range(2):
            middle, up, _ = self.at(along)
            along = along + ((points_mm - middle) * up).sum(axis=1)
        middle, up, depth = self.at(along)
        front, right = across(up)
        off = points_mm - middle
        return along, (off * right).sum(axis=1), (off * front).sum(axis=1), depth


def across(up: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors to the front and to the right of directions up (…, 3)."""
    front = np.array([0.0, 1.0, 0.0]) - up[..., 1:2] * up
    front = front / np.linalg.norm(front, axis=-1, keepdims=True)
    return front, np.cross(front, up)


def find_column(grid: EvenGrid) -> Column | None:
    """Follow the bodies up a mask of vertebrae; None where nothing is as thick as a body.

    In an axial plane a body is the thickest part of a vertebra, and its front. Planes whose thickest part is thin
    beside those around them cross a disc and the joints behind it; the curve passes them by the bodies above and below.
    It is smooth: waves shorter than 90 mm are taken for noise.

    Args:
        grid: the mask of one spine.
    """
    middles, depth = _deepest(grid)
    window = max(round(_LOCAL_MM / STEP_MM), 1)
    usual = ndimage.percentile_filter(depth, 85, size=window, mode="nearest")
    weight = np.where((depth >= _SHARE_OF_DEPTH * usual) & (depth >= _LEAST_DEPTH_MM), depth**2, 0.0)
    if np.count_nonzero(weight) * STEP_MM < _SHORTEST_MM:
        return None
    planes = np.flatnonzero(weight)
    part = slice(int(planes[0]), int(planes[-1]) + 1)
    curve = _smoothed(middles[part], weight[part])
    points = np.concatenate([curve, (np.arange(part.start, part.stop) * STEP_MM)[:, None]], axis=1)
    points[:, :2] += grid.origin_mm[:2]
    points[:, 2] += grid.origin_mm[2]
    walls = _smoothed(depth[part, None], weight[part])[:, 0]
    points, walls = _lengthened(points, walls)
    up = np.gradient(points, axis=0)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return Column(points, up, np.maximum(walls, _LEAST_DEPTH_MM), along)


def _deepest(grid: EvenGrid) -> tuple[FloatArray, FloatArray]:
    """In each axial plane the middle (x, y) of the thickest part in mm from the grid's origin, and its depth in mm."""
    planes = grid.inside.shape[2]
    middles, depths = np.zeros((planes, 2)), np.zeros(planes)
    for plane in range(planes):
        inside = grid.inside[:, :, plane]
        if not inside.any():
            continue
        depth = ndimage.distance_transform_edt(inside) * STEP_MM
        where = np.argwhere(inside)
        values = depth[inside]
        best = int(np.argmax(values + _FRONT * where[:, 1] * STEP_MM))
        near = (np.linalg.norm(where - where[best], axis=1) * STEP_MM <= 2 * values[best]) & (
            values >= values[best] - _CORE_MM
        )
        middles[plane] = where[near].mean(axis=0) * STEP_MM
        depths[plane] = values[best]
    return middles, depths


def _smoothed(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Values (n, c) by weighted penalised least squares (Whittaker, 1922), far ones counting less; gaps bridged."""
    n = len(values)
    if n < 3:
        return np.repeat(np.average(values, axis=0, weights=weight)[None], n, axis=0)
    penalty = (_BEND_MM / (2 * np.pi * STEP_MM)) ** 4
    difference = np.diff(np.eye(3), 2, axis=0)[0]
    bands = np.zeros((3, n))
    for start in range(n - 2):
        for a in range(3):
            for b in range(a, 3):
                bands[2 - (b - a), start + b] += penalty * difference[a] * difference[b]
    weight = weight / weight.max()
    robust = np.ones(n)
    smooth = values
    for _ in range(6):
        matrix = bands.copy()
        matrix[2] += weight * robust + 1e-9
        smooth = np.asarray(linalg.solveh_banded(matrix, (weight * robust)[:, None] * values), float)
        robust = _OFF_MM / np.maximum(np.linalg.norm(values - smooth, axis=1), _OFF_MM)
    return smooth


def _lengthened(points: FloatArray, depth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The curve with straight ends, so that the whole of the first and the last vertebra lies along it."""
    count = round(40.0 / STEP_MM)
    steps = np.arange(1, count + 1)[:, None]
    # the direction over a body's height, not over a step
    reach = min(round(25.0 / STEP_MM), len(points) - 1)
    if reach == 0:
        first = last = np.array([0.0, 0.0, STEP_MM])
    else:
        first, last = (points[reach] - points[0]) / reach, (points[-1] - points[-1 - reach]) / reach
    before, after = points[0] - steps[::-1] * first, points[-1] + steps * last
    return np.concatenate([before, points, after]), np.pad(depth, count, mode="edge")
