"""A vertebral body's outline and endplates in its own frame, and the heights that Genant's grades compare."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radseg.transforms.vertebrae.axis import (
    FloatArray,
    LabelArray,
    Placed,
    VertebraFrame,
    first_frame,
    neighbours,
    oriented,
    place,
)

EDGE = 0.8
"""Where the anterior and posterior heights are taken: this share of the way from the middle to the body's wall."""

_HALF_MM = (30, 30, 34)
_MIDLINE_MM = 5.0
_MOST_TURN = np.cos(np.deg2rad(30.0))


@dataclass(frozen=True)
class Heights:
    """Heights of a vertebral body in its mid-sagittal plane, mm (Genant et al., JBMR 8(9), 1993)."""

    anterior_mm: float
    middle_mm: float
    posterior_mm: float


@dataclass(frozen=True)
class Body:
    """A vertebral body: an elliptic outline between two curved endplates.

    Attributes:
        frame: its own coordinates, the origin in the middle of the outline.
        half_width_mm: from the middle to the side.
        half_depth_mm: from the middle to the front.
        lower: endplate's height in mm over the share of the half width p and half depth q: the coefficients of
            1, p, q, p², pq, q², (6,).
        upper: likewise.
        heights: measured between the endplates, not on the fitted surfaces.
        cut: whether the image's edge cuts the body off.
    """

    frame: VertebraFrame
    half_width_mm: float
    half_depth_mm: float
    lower: FloatArray
    upper: FloatArray
    heights: Heights
    cut: bool

    def height_mm(self, q: float) -> float:
        """Height between the fitted endplates in the midline at a share of the half depth: −1 behind, 1 in front."""
        return float((self.upper - self.lower) @ _terms(np.zeros(1), np.array([q]))[:, 0])


def surface(coefficients: FloatArray, p: NDArray[np.floating], q: NDArray[np.floating]) -> NDArray[np.floating]:
    """An endplate's height at p and q (any shape); beyond the outline that of the nearest point of it."""
    beyond = np.maximum(np.sqrt(p * p + q * q), 1)
    p, q = p / beyond, q / beyond
    a, b, c, d, e, f = (float(one) for one in coefficients)
    return a + p * (b + d * p + e * q) + q * (c + f * q)


def vertebral_heights(labels: LabelArray, affine: FloatArray, vertebra: int) -> Heights:
    """The heights of one body of a map of numbered vertebrae, each in the mid-sagittal plane along the body's own axis.

    Args:
        labels: one number per vertebra, (i, j, k).
        affine: voxel to RAS mm, (4, 4).
        vertebra: the number.

    Raises:
        ValueError: the map doesn't hold it, or it has no body that can be told.
    """
    placed, others = place(labels, affine, vertebra)
    return find_body(labels, affine, placed, *neighbours(placed, others)).heights


def find_body(
    labels: LabelArray, affine: FloatArray, vertebra: Placed, below: Placed | None, above: Placed | None
) -> Body:
    """Fit outline and endplates of a body, its frame turned until the endplates lie across it.

    Args:
        labels: one number per vertebra, (i, j, k).
        affine: voxel to RAS mm, (4, 4).
        vertebra: where it is.
        below: the neighbour below, or None.
        above: the neighbour above, or None.

    Raises:
        ValueError: it has no body that can be told.
    """
    frame = first_frame(vertebra, below, above)
    along = frame.axes[2]
    body = _fitted(labels, affine, vertebra, frame)
    for _ in range(2):
        slope = (body.lower[1:3] + body.upper[1:3]) / 2 / [body.half_width_mm, body.half_depth_mm]
        up = body.frame.axes.T @ np.array([-slope[0], -slope[1], 1.0])
        up = up / np.linalg.norm(up)
        if up @ along < _MOST_TURN:
            break
        turned = oriented(body.frame.origin_mm, up, vertebra.centre_mm - vertebra.centroid_mm)
        body = _fitted(labels, affine, vertebra, turned)
    return body


def _fitted(labels: LabelArray, affine: FloatArray, vertebra: Placed, frame: VertebraFrame) -> Body:
    """Sample the vertebra on a 1 mm grid along the frame's axes and read outline and endplates from it."""
    right, front, top = (np.arange(-half, half + 1.0) for half in _HALF_MM)
    inside = _sampled(labels, affine, vertebra, frame, (right, front, top))
    middle = (len(right) // 2, len(front) // 2, len(top) // 2)
    # at half height the body's wall stands free of the rims; veins enter there, so three levels vote
    waist = inside[:, :, middle[2] - 3 : middle[2] + 4 : 3].mean(axis=2)
    midline = waist[np.abs(right) <= _MIDLINE_MM].mean(axis=0)
    rear, face = _run(midline, middle[1], front)
    centre_front, half_depth = (rear + face) / 2, (face - rear) / 2
    row = int(np.abs(front - centre_front).argmin())
    left, side = _run(waist[:, max(row - 3, 0) : row + 4].mean(axis=1), middle[0], right)
    centre_right, half_width = (left + side) / 2, (side - left) / 2
    if min(half_depth, half_width) < 4.0:
        raise ValueError(f"vertebra {vertebra.vertebra} has no body that can be told; is its label whole?")
    p, q = (right - centre_right) / half_width, (front - centre_front) / half_depth
    chosen = np.argwhere(p[:, None] ** 2 + q[None] ** 2 < 0.9**2)
    ends = np.array([_run(inside[i, j], middle[2], top) for i, j in chosen if inside[i, j, middle[2]] > 0.5])
    columns = np.array([(i, j) for i, j in chosen if inside[i, j, middle[2]] > 0.5])
    if len(columns) < 20:
        raise ValueError(f"vertebra {vertebra.vertebra} has no body that can be told; is its label whole?")
    heights = _measured(p[columns[:, 0]], q[columns[:, 1]], ends[:, 1] - ends[:, 0])
    terms = _terms(p[columns[:, 0]], q[columns[:, 1]]).T
    lower, upper = (_robust_fit(terms, ends[:, end]) for end in range(2))
    level = float(lower[0] + upper[0]) / 2
    shift = np.array([centre_right, centre_front, level])
    lower[0], upper[0] = lower[0] - level, upper[0] - level
    origin = frame.origin_mm + shift @ frame.axes
    turned = VertebraFrame(origin, frame.axes)
    body = Body(turned, half_width, half_depth, lower, upper, heights, cut=False)
    return replace(body, cut=_is_cut(body, affine, labels.shape))


def _measured(p: FloatArray, q: FloatArray, height: FloatArray) -> Heights:
    """The heights of columns near the midline in front, in the middle and behind: the mean of the middle half of 20."""
    found = []
    for level in (EDGE, 0.0, -EDGE):
        off = np.abs(q - level) + np.where(np.abs(p) < 0.3, 0, 10)
        nearest = np.sort(height[np.argsort(off, kind="stable")[:20]])
        found.append(float(nearest[5:15].mean()))
    return Heights(*found)


def _sampled(
    labels: LabelArray,
    affine: FloatArray,
    vertebra: Placed,
    frame: VertebraFrame,
    axes: tuple[FloatArray, FloatArray, FloatArray],
) -> NDArray[np.float32]:
    start = np.array([part.start for part in vertebra.box]) - 1
    mask = np.pad((labels[vertebra.box] == vertebra.vertebra).astype(np.float32), 1)
    to_index = np.linalg.inv(affine)
    columns = to_index[:3, :3] @ frame.axes.T
    origin = to_index[:3, :3] @ frame.origin_mm + to_index[:3, 3] - start
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    index = [origin[row] + sum(columns[row, axis] * grid[axis] for axis in range(3)) for row in range(3)]
    sampled: NDArray[np.float32] = ndimage.map_coordinates(mask, index, order=1, output=np.float32)
    return sampled


def _run(profile: NDArray[np.floating], middle: int, positions: FloatArray) -> tuple[float, float]:
    """Where a profile falls to a half on both sides of its middle, between samples."""
    ends = []
    for step in (-1, 1):
        here = middle
        while 0 <= here + step < len(profile) and profile[here + step] > 0.5:
            here += step
        last = here + step
        share = 0.0
        if 0 <= last < len(profile) and profile[here] > profile[last]:
            share = float(np.clip((profile[here] - 0.5) / (profile[here] - profile[last]), 0, 1))
        ends.append(float(positions[here]) + step * share)
    return ends[0], ends[1]


def _terms(p: FloatArray, q: FloatArray) -> FloatArray:
    return np.stack([np.ones_like(p), p, q, p * p, p * q, q * q])


def _robust_fit(terms: FloatArray, values: FloatArray) -> FloatArray:
    """Least squares, twice more without what lies further off than 2 mm and 2.5 typical distances."""
    kept = np.ones(len(values), bool)
    for _ in range(3):
        fit = np.asarray(np.linalg.lstsq(terms[kept], values[kept], rcond=None)[0], float)
        off = np.abs(values - terms @ fit)
        kept = off <= max(2.5 * 1.48 * float(np.median(off)), 2.0)
    return fit


def _is_cut(body: Body, affine: FloatArray, shape: tuple[int, ...]) -> bool:
    """Say whether a body's walls or endplates reach into the image's outermost voxels (a quarter of one allowed)."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    p, q = np.cos(turn), np.sin(turn)
    rims = [
        np.stack([p * body.half_width_mm, q * body.half_depth_mm, surface(plate, p, q)], axis=1)
        for plate in (body.lower, body.upper)
    ]
    points = np.concatenate(rims) @ body.frame.axes + body.frame.origin_mm
    to_index = np.linalg.inv(affine)
    index = points @ to_index[:3, :3].T + to_index[:3, 3]
    return bool((index < 0.25).any() or (index > np.array(shape) - 1.25).any())
