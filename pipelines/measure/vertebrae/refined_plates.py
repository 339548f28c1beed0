"""Endplates to a fraction of a voxel: where the mask ends on average over some mm, and where the CT shows bone end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.transforms.vertebrae.endplates import EDGE, Body, Heights

FloatArray = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]

_COLUMN_MM = 1.5
_OUTLINE = 0.95
_STEP_MM = 0.25
_REACH_MM = 6.0
_MASK_MM = 1.5
_GREY_MM = 1.5
_SLOPE_MM = 0.75
_SHELL_MM = 1.0
_MARROW_MM = 1.5
_CLEAR_SHELL = 0.5
_INWARD_MM, _OUTWARD_MM = 3.0, 2.0
_NEAR_MM = 1.5
_FLAT_HU_MM = 20.0
_HU = (-200.0, 1200.0)
_PATCH = (0.3, 0.08)
_LEAST_OFF_MM = 0.5


@dataclass(frozen=True)
class _Columns:
    """Lines along a body's axis, evenly over its outline.

    Attributes:
        inside: which of the lines of a grid lie in the outline, (a, b).
        p: where they are, in half widths to the right, (n,).
        q: in half depths to the front, (n,).
        step_mm: between the grid's lines.
    """

    inside: npt.NDArray[np.bool_]
    p: FloatArray
    q: FloatArray
    step_mm: tuple[float, float]

    @property
    def terms(self) -> FloatArray:
        """1, p, q, p², pq, q², (n, 6)."""
        p, q = self.p, self.q
        return np.stack([np.ones_like(p), p, q, p * p, p * q, q * q], axis=-1)

    def averaged(self, profiles: Values, sigma_mm: float) -> Values:
        """Profiles (n, k) of the lines, each the mean of those around it."""
        full = np.zeros((*self.inside.shape, profiles.shape[-1]), np.float32)
        full[self.inside] = profiles
        sigma = [sigma_mm / step for step in self.step_mm]
        share = ndimage.gaussian_filter(self.inside.astype(np.float32), sigma, mode="constant")
        mean = ndimage.gaussian_filter(full, (*sigma, 0), mode="constant") / np.maximum(share, 1e-6)[..., None]
        found: Values = mean[self.inside]
        return found


def refined(
    body: Body,
    bone: npt.NDArray[np.bool_],
    affine_ras: npt.NDArray[np.float64],
    image: npt.NDArray[np.floating | np.integer] | None = None,
) -> Body:
    """The body with endplates and heights found between the voxels.

    On each of some hundred lines along the axis the mask's end is that of its mean over 1.5 mm around the line, so that
    the steps of a slanted or curved endplate average out. With a CT, the end is where grey values, likewise averaged,
    fall most steeply from bone to disc, less what slices thicker than the endplate widen it. It is looked for from 3 mm
    inside to 2 mm outside of the mask's end, the nearer the better, since beyond lies the other side of a thin disc.
    The steeper they fall, the more the CT counts; where a disc is as dense as bone the mask's end stays. Heights are
    medians over patches of 0.6 half widths by 0.16 half depths, some 12 by 2.5 mm.

    Args:
        body: outline, axis and roughly the endplates.
        bone: where the vertebra is, in a part of the grid that leaves some mm around it, (i, j, k).
        affine_ras: voxel of that part to RAS mm, (4, 4).
        image: CT in HU, likewise; None for a mask alone.
    """
    columns = _columns(body)
    lowest = float((columns.terms @ (body.upper - body.lower)).min())
    reach = float(np.clip(0.45 * lowest, 1.5, _REACH_MM))
    mask = bone.astype(np.float32)
    grey = None
    if image is not None:
        grey = ndimage.spline_filter(np.clip(image, *_HU).astype(np.float32), order=3, output=np.float32)
    plates, ends = [], []
    for plate, sign in ((body.lower, -1), (body.upper, 1)):
        end = _end_of_mask(mask, affine_ras, body, columns, columns.terms @ plate, sign, reach)
        if grey is not None:
            end = _end_in_ct(grey, affine_ras, body, columns, end, sign, reach)
        plates.append(_robust_fit(columns.terms, end))
        ends.append(end)
    height = ends[1] - ends[0]
    off = [(np.abs(columns.p) <= _PATCH[0]) & (np.abs(columns.q - level) <= _PATCH[1]) for level in (EDGE, 0.0, -EDGE)]
    heights = Heights(*(float(np.median(height[patch])) for patch in off))
    return replace(body, lower=plates[0], upper=plates[1], heights=heights)


def _columns(body: Body) -> _Columns:
    halves = body.half_width_mm, body.half_depth_mm
    # a line in each patch however small the body
    counts = [max(round(2 * _OUTLINE * half / _COLUMN_MM), 24) + 1 for half in halves]
    p, q = np.meshgrid(*(np.linspace(-_OUTLINE, _OUTLINE, count) for count in counts), indexing="ij")
    inside = p * p + q * q <= _OUTLINE**2
    across, deep = (2 * _OUTLINE * half / (count - 1) for half, count in zip(halves, counts, strict=True))
    return _Columns(inside, p[inside], q[inside], (across, deep))


def _sampled(
    values: Values, affine_ras: npt.NDArray[np.float64], body: Body, columns: _Columns, up_mm: FloatArray, order: int
) -> Values:
    """Values on the lines at heights up_mm (n, k); of order 3 they are a spline's coefficients."""
    right, front = columns.p * body.half_width_mm, columns.q * body.half_depth_mm
    points = np.stack(np.broadcast_arrays(right[:, None], front[:, None], up_mm), axis=-1)
    to_index = np.linalg.inv(affine_ras)
    index = (points @ body.frame.axes + body.frame.origin_mm) @ to_index[:3, :3].T + to_index[:3, 3]
    where = np.moveaxis(index, -1, 0)
    mode = "constant" if order == 1 else "nearest"
    found: Values = ndimage.map_coordinates(values, where, order=order, mode=mode, prefilter=False, output=np.float32)
    return found


def _end_of_mask(
    mask: Values,
    affine_ras: npt.NDArray[np.float64],
    body: Body,
    columns: _Columns,
    start: FloatArray,
    sign: int,
    reach: float,
) -> FloatArray:
    """Where the mask ends on each line, (n,): its length between reach mm inside and outside of a first guess."""
    steps = np.arange(-reach + _STEP_MM / 2, reach, _STEP_MM)
    filled = _sampled(mask, affine_ras, body, columns, start[:, None] + sign * steps, 1)
    length = columns.averaged(filled, _MASK_MM).sum(axis=1) * _STEP_MM
    return np.asarray(start + sign * (length - len(steps) * _STEP_MM / 2), float)


def _end_in_ct(
    grey: Values,
    affine_ras: npt.NDArray[np.float64],
    body: Body,
    columns: _Columns,
    end: FloatArray,
    sign: int,
    reach: float,
) -> FloatArray:
    """Where bone ends on each line, (n,): by the CT where grey values fall steeply, else by the mask."""
    inward = min(_INWARD_MM, reach)
    slice_mm = float(np.linalg.norm(body.frame.axes[2] @ affine_ras[:3, :3]))
    beyond = slice_mm + _MARROW_MM
    steps = np.arange(-inward - beyond, _OUTWARD_MM + beyond, _STEP_MM)
    values = _sampled(grey, affine_ras, body, columns, end[:, None] + sign * steps, 3)
    smooth = columns.averaged(np.clip(values, *_HU), _GREY_MM)
    fall = -ndimage.gaussian_filter1d(smooth, _SLOPE_MM / _STEP_MM, axis=1, order=1, mode="nearest") / _STEP_MM
    # the nearness chooses among the tops and doesn't move them
    top = (fall >= np.roll(fall, 1, axis=1)) & (fall >= np.roll(fall, -1, axis=1)) & (fall > 0)
    top &= (steps >= -inward) & (steps <= _OUTWARD_MM)
    score = np.where(top, fall * np.exp(-(steps**2) / (2 * _NEAR_MM**2)), 0.0)
    line = np.arange(len(end))
    best = np.clip(score.argmax(axis=1), 1, len(steps) - 2)
    before, peak, after = (fall[line, best + step].astype(float) for step in (-1, 0, 1))
    bend = before - 2 * peak + after
    # the top of the parabola through three values, where they have one
    between = np.where(bend < -1e-6, (before - after) / 2 / np.minimum(bend, -1e-6), 0.0)
    found = steps[best] + np.clip(between, -1, 1) * _STEP_MM - _widened_mm(smooth, best, slice_mm)
    steep = np.where(score[line, best] > 0, peak, 0.0) ** 2
    return np.asarray(end + sign * found * steep / (steep + _FLAT_HU_MM**2), float)


def _widened_mm(smooth: Values, slope: npt.NDArray[np.intp], slice_mm: float) -> float:
    """How far outside of the bone the steepest slope lies, the median of profiles (n, k) with slopes at indices (n,).

    A shell thinner than the slice shows as wide as the slice, so half of what it gains is outside. Where no shell is
    denser than the marrow, the slope is at the bone's end.
    """
    line, reach = np.arange(len(smooth)), round((slice_mm + 0.5) / _STEP_MM)
    around = [np.clip(slope + step, 0, smooth.shape[1] - 1) for step in range(-reach, reach + 1)]
    shell = np.max([smooth[line, at] for at in around[: reach + 1]], axis=0)
    disc = np.min([smooth[line, at] for at in around[reach:]], axis=0)
    marrow = smooth[line, np.maximum(slope - round((slice_mm + _MARROW_MM) / _STEP_MM), 0)]
    denser = (shell - marrow) / np.maximum(shell - disc, 1.0)
    share = float(np.median(np.clip(denser / _CLEAR_SHELL, 0, 1)))
    return share * max(slice_mm - _SHELL_MM, 0.0) / 2


def _robust_fit(terms: FloatArray, values: FloatArray) -> FloatArray:
    """Least squares, three times more without what lies further off than 2.5 typical distances."""
    kept = np.ones(len(values), bool)
    for _ in range(4):
        fit = np.asarray(np.linalg.lstsq(terms[kept], values[kept], rcond=None)[0], float)
        off = np.abs(values - terms @ fit)
        kept = off <= max(2.5 * 1.48 * float(np.median(off)), _LEAST_OFF_MM)
    return fit
