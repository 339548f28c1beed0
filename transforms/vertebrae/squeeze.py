"""Image and labels carried along a compression: the neighbourhood cut out, moved, its squeezed bone made denser."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radseg.transforms.vertebrae.axis import Box, FloatArray, LabelArray, neighbours, place
from radseg.transforms.vertebrae.compression import Compression, Kind
from radseg.transforms.vertebrae.endplates import find_body
from radseg.transforms.vertebrae.sides import side_of, with_body

Values = NDArray[np.float32]
Voxels = tuple[NDArray[np.intp], ...]

_STILL_MM = 0.02
_PAD = 12
# the neighbour and 100 mm beyond it
_REACH_MM = 170.0


@dataclass(frozen=True)
class Moved:
    """What a compression does to a grid of voxels.

    Attributes:
        box: the voxels among which any move.
        steps: from each voxel of the box to where its value is taken, in voxels, (3, i, j, k).
    """

    box: Box
    steps: Values

    def within(self, inner: Box) -> Moved:
        """The same for a box of voxels inside this one, counted from this one's first."""
        start = [part.start for part in self.box]
        a, b, c = (slice(part.start + at, part.stop + at) for part, at in zip(inner, start, strict=True))
        return Moved((a, b, c), self.steps[(slice(None), *inner)])

    def volume_ratio(self) -> Values:
        """How much volume each voxel of the box takes its value from, (i, j, k): over 1 where tissue is squeezed."""
        rows = [np.stack(np.gradient(step)) for step in self.steps]
        for axis, row in enumerate(rows):
            row[axis] += 1
        a, b, c = rows
        ratio: Values = (
            a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
        return ratio


def plan(labels: LabelArray, affine: FloatArray, vertebra: int, kind: Kind, loss: float) -> Compression:
    """Measure a vertebra and its surroundings for a compression.

    Args:
        labels: one number per vertebra, (i, j, k).
        affine: voxel to RAS mm, (4, 4).
        vertebra: which is compressed.
        kind: wedge, biconcave or crush.
        loss: share of the height lost, 0 to 0.6.

    Raises:
        ValueError: the map doesn't hold the vertebra, it has no body that can be told, or the image's edge cuts it off
            or is too near.
    """
    placed, others = place(labels, affine, vertebra, _REACH_MM)
    below, above = neighbours(placed, others)
    body = find_body(labels, affine, placed, below, above)
    if body.cut:
        raise ValueError(f"vertebra {vertebra} is cut off by the image's edge; choose another.")
    shown = [with_body(body, neighbour, sign) for neighbour, sign in ((below, -1), (above, 1))]
    if shown[0] is not below or shown[1] is not above:
        body = find_body(labels, affine, placed, *shown)
    sides = (
        side_of(labels, affine, body, neighbour, others, sign) for neighbour, sign in zip(shown, (-1, 1), strict=True)
    )
    compression = Compression(body, kind, loss, *sides)
    if not compression.has_room:
        raise ValueError(f"vertebra {vertebra} is too near the image's edge to lose {loss:.0%} of its height.")
    return compression


def move(compression: Compression, affine: FloatArray, shape: tuple[int, ...]) -> Moved:
    """Compute the displacements on a grid.

    Args:
        compression: what is squeezed, and how.
        affine: the grid's voxel to RAS mm, (4, 4).
        shape: the grid's.
    """
    to_index: FloatArray = np.asarray(np.linalg.inv(affine), float)
    frame = compression.body.frame
    box = _box(compression, to_index, shape)
    across = frame.axes @ affine[:3, :3]
    origin = frame.axes @ (affine[:3, 3] - frame.origin_mm)
    i, j, k = (np.arange(part.start, part.stop, dtype=np.float32) for part in box)
    rows = [[np.float32(one) for one in (*across[row], origin[row])] for row in range(3)]
    back = (to_index[:3, :3] @ frame.axes.T).astype(np.float32)
    # most of an upright box around a slanted spine stays where it is
    reach = compression.reach_mm
    steps = np.zeros((3, len(i), len(j), len(k)), np.float32)
    # a plane at a time: what is computed on the way stays in the processor's cache
    for plane, at in enumerate(i):
        right, front, up = (a * at + b * j[:, None] + c * k + start for a, b, c, start in rows)
        near = (right * right + front * front < reach[0] ** 2) & (up > -reach[1]) & (up < reach[2])
        if near.any():
            taken = compression.taken_from((right[near], front[near], up[near]))
            for row in range(3):
                steps[row, plane][near] = sum(back[row, axis] * taken[axis] for axis in range(3))
    return Moved(box, steps)


def carry(source: Values, moved: Moved, affine: FloatArray) -> Values:
    """The values of the box after the move, by cubic splines; what stays still stays exactly.

    Linear interpolation would smooth the noise away, and a network could find fractures by that.

    Args:
        source: image in the box, (i, j, k).
        moved: the displacements.
        affine: the grid's voxel to RAS mm, (4, 4).
    """
    out = source.astype(np.float32)
    least, most = out.min(), out.max()
    # as scipy does it for the whole image: the spline's ends are those of an image that goes on
    spline = ndimage.spline_filter(np.pad(out, _PAD, mode="edge"), order=3, mode="nearest", output=np.float32)
    for where, index in _sources(moved, affine):
        carried = ndimage.map_coordinates(
            spline, index + _PAD, order=3, mode="nearest", prefilter=False, output=np.float32
        )
        out[where] = np.clip(carried, least, most)
    return out


def carry_labels(source: LabelArray, moved: Moved, affine: FloatArray) -> LabelArray:
    """The labels of the box after the move, each that of the nearest voxel; see `carry`."""
    out = source.copy()
    last = np.array(source.shape)[:, None] - 1
    for where, index in _sources(moved, affine):
        nearest = np.clip(np.rint(index).astype(np.intp), 0, last)
        out[where] = source[tuple(nearest)]
    return out


def keep_whole(carried: LabelArray, vertebra: int, before: LabelArray) -> None:
    """Take from a vertebra the voxels that the move has parted from it, in place: they become 0.

    Args:
        carried: labels of the box after the move, (i, j, k).
        vertebra: which.
        before: labels of the box before, which tell how many pieces it has.
    """
    held = before == vertebra
    box = ndimage.find_objects((held | (carried == vertebra)).astype(np.uint8))[0]
    all_around = np.ones((3, 3, 3))
    count = ndimage.label(held[box], all_around)[1]
    pieces, now = ndimage.label(carried[box] == vertebra, all_around)
    if now > count:
        sizes = np.bincount(pieces.ravel())[1:]
        stray = np.argsort(-sizes, kind="stable")[count:] + 1
        carried[box][np.isin(pieces, stray)] = 0


def _sources(moved: Moved, affine: FloatArray) -> Iterator[tuple[Voxels, FloatArray]]:
    """The voxels of the box that move, a plane at a time, and the places (3, n) in the box where their values lie."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0).astype(np.float32)
    for plane in range(moved.steps.shape[1]):
        steps = moved.steps[:, plane]
        j, k = np.nonzero((np.abs(steps) * spacing[:, None, None]).max(axis=0) > _STILL_MM)
        if len(j):
            where = np.full_like(j, plane), j, k
            yield where, np.stack([steps[axis, j, k] + at for axis, at in enumerate(where)])


def _box(compression: Compression, to_index: FloatArray, shape: tuple[int, ...]) -> Box:
    """The voxels that hold everything that moves."""
    wide, below, above = compression.reach_mm
    frame = compression.body.frame
    corners = np.array(list(itertools.product((-wide, wide), (-wide, wide), (-below, above))))
    index = (corners @ frame.axes + frame.origin_mm) @ to_index[:3, :3].T + to_index[:3, 3]
    low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, shape)
    a, b, c = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return a, b, c
