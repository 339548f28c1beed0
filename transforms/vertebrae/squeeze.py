"""Image and labels carried along a compression: the neighbourhood cut out, moved, its squeezed bone made denser."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radseg.transforms.vertebrae.axis import Box, FloatArray, LabelArray, Placed, neighbours, place, to_mm
from radseg.transforms.vertebrae.compression import Compression, Kind, Side
from radseg.transforms.vertebrae.endplates import Body, find_body, surface
from radseg.transforms.vertebrae.hounsfield import DENSEST_HU, MARROW_HU, in_hounsfield, in_window

Values = NDArray[np.float32]

_STILL_MM = 0.02
_NO_NEIGHBOUR_MM = 5.0
_SMOOTH_MM = 1.2
_SOFT_MM = 1.0


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
    placed, others = place(labels, affine, vertebra)
    below, above = neighbours(placed, others)
    body = find_body(labels, affine, placed, below, above)
    if body.cut:
        raise ValueError(f"vertebra {vertebra} is cut off by the image's edge; choose another.")
    shown = [_with_body(body, neighbour, sign) for neighbour, sign in ((below, -1), (above, 1))]
    if shown[0] is not below or shown[1] is not above:
        body = find_body(labels, affine, placed, *shown)
    sides = (_side(labels, affine, body, neighbour, sign) for neighbour, sign in zip(shown, (-1, 1), strict=True))
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
    index = np.meshgrid(*(np.arange(part.start, part.stop) for part in box), indexing="ij", sparse=True)
    i, j, k = (axis.astype(np.float32) for axis in index)
    rows = [[np.float32(one) for one in (*across[row], origin[row])] for row in range(3)]
    local: list[Values] = [a * i + b * j + c * k + start for a, b, c, start in rows]
    # most of an upright box around a slanted spine stays where it is
    reach = compression.reach_mm
    near = (local[0] * local[0] + local[1] * local[1] < reach[0] ** 2) & (local[2] > -reach[1]) & (local[2] < reach[2])
    taken = compression.taken_from((local[0][near], local[1][near], local[2][near]))
    back = (to_index[:3, :3] @ frame.axes.T).astype(np.float32)
    steps = np.zeros((3, *near.shape), np.float32)
    for row in range(3):
        steps[row][near] = sum(back[row, axis] * taken[axis] for axis in range(3))
    return Moved(box, steps)


def carry(source: Values, moved: Moved, affine: FloatArray) -> Values:
    """The values of the box after the move, by cubic splines; what stays still stays exactly.

    Linear interpolation would smooth the noise away, and a network could find fractures by that.

    Args:
        source: image in the box, (i, j, k).
        moved: the displacements.
        affine: the grid's voxel to RAS mm, (4, 4).
    """
    where, index = _sources(moved, affine)
    out = source.astype(np.float32)
    if index.size:
        carried = ndimage.map_coordinates(out, index, order=3, mode="nearest", output=np.float32)
        out[where] = np.clip(carried, out.min(), out.max())
    return out


def carry_labels(source: LabelArray, moved: Moved, affine: FloatArray) -> LabelArray:
    """The labels of the box after the move, each that of the nearest voxel; see `carry`."""
    where, index = _sources(moved, affine)
    nearest = np.clip(np.rint(index).astype(np.intp), 0, np.array(source.shape)[:, None] - 1)
    out = source.copy()
    out[where] = source[tuple(nearest)]
    return out


def _sources(moved: Moved, affine: FloatArray) -> tuple[NDArray[np.bool_], Values]:
    """Which voxels of the box move, and the places (3, n) in the box that their values are taken from."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0).astype(np.float32)
    moving = (np.abs(moved.steps) * spacing[:, None, None, None]).max(axis=0) > _STILL_MM
    return moving, np.stack([moved.steps[axis][moving] + place for axis, place in enumerate(np.nonzero(moving))])


def densify(
    values: Values,
    bone: NDArray[np.bool_],
    compression: Compression,
    moved: Moved,
    affine: FloatArray,
    window_hu: tuple[float, float] | None,
) -> None:
    """Keep the mineral of the squeezed body, in place: what lies above marrow in HU grows as the volume falls.

    Spongy bone is mineral in marrow, and a collapse presses the marrow out: the mineral stays, in less space. The noise
    is left as it is; only a smooth image is scaled.

    Args:
        values: image in the box after the move, (i, j, k).
        bone: the squeezed vertebra, likewise.
        compression: what was squeezed.
        moved: how.
        affine: the grid's voxel to RAS mm, (4, 4).
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.
    """
    box = ndimage.find_objects(bone.astype(np.uint8))[0]
    a, b, c = (slice(max(part.start - 4, 0), min(part.stop + 4, n)) for part, n in zip(box, bone.shape, strict=True))
    part = moved.within((a, b, c))
    hu = in_hounsfield(values[a, b, c], window_hu)
    vertebra = bone[a, b, c]
    share = _in_body(compression, part, affine) * vertebra
    body = share > 0
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # bone alone is averaged, so that the soft tissue around doesn't thin the walls
    weight = np.maximum(ndimage.gaussian_filter(body.astype(np.float32), _SMOOTH_MM / spacing), 1e-3)
    mineral = ndimage.gaussian_filter(np.where(body, hu - MARROW_HU, 0), _SMOOTH_MM / spacing) / weight
    gain = share * np.maximum(mineral, 0) * np.maximum(part.volume_ratio() - 1, 0)
    # the label's steps would show as steps of density
    soft = ndimage.gaussian_filter(gain, _SOFT_MM / spacing) * vertebra
    soft *= gain.sum() / max(float(soft.sum()), 1e-3)
    denser = in_window(np.minimum(hu + soft, np.maximum(hu, DENSEST_HU)), window_hu)
    changed = soft > 0
    values[a, b, c][changed] = denser[changed]


def _in_body(compression: Compression, moved: Moved, affine: FloatArray) -> Values:
    """1 for voxels whose values come from the body, 0 from its arch, between them in the walls' neighbourhood."""
    frame, body = compression.body.frame, compression.body
    index = np.stack(np.meshgrid(*(np.arange(p.start, p.stop) for p in moved.box), indexing="ij"), axis=-1)
    source = np.asarray(index + np.moveaxis(moved.steps, 0, -1), float)
    local = frame.local(to_mm(source, affine))
    p, q = local[..., 0] / body.half_width_mm, local[..., 1] / body.half_depth_mm
    between = (local[..., 2] > surface(body.lower, p, q) - 2) & (local[..., 2] < surface(body.upper, p, q) + 2)
    return np.asarray(np.clip((1.4 - np.sqrt(p * p + q * q)) / 0.3, 0, 1) * between, np.float32)


def _with_body(body: Body, neighbour: Placed | None, sign: int) -> Placed | None:
    """The neighbour, or None where the image shows its arch alone, whose middle is no body's: too near, or behind."""
    if neighbour is None or not neighbour.cut:
        return neighbour
    plate = body.upper if sign > 0 else body.lower
    right, front, up = (float(one) for one in body.frame.local(neighbour.centre_mm))
    beyond = sign * (up - float(plate[0]))
    return neighbour if beyond >= body.height_mm(0.0) / 2 and float(np.hypot(right, front)) <= beyond / 1.5 else None


def _side(labels: LabelArray, affine: FloatArray, body: Body, neighbour: Placed | None, sign: int) -> Side:
    plate = body.upper if sign > 0 else body.lower
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    rim = np.stack([np.cos(turn) * body.half_width_mm, np.sin(turn) * body.half_depth_mm, 0 * turn + plate[0]], axis=1)
    room = min(_room(body, point, sign, affine, labels.shape) for point in rim)
    height = body.height_mm(0.0)
    if neighbour is None:
        return Side(min(_NO_NEIGHBOUR_MM, room), height, room, np.array([0.0, 0.0, sign * (height + _NO_NEIGHBOUR_MM)]))
    offset = body.frame.local(neighbour.centre_mm)
    # the neighbour is about as high as this one, and what is left between the middles are two halves and the disc
    spine = np.linspace(0, 2, 161)[:, None] * offset
    to_index = np.linalg.inv(affine)
    index = np.rint((spine @ body.frame.axes + body.frame.origin_mm) @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)
    inside = np.all((index >= 0) & (index < labels.shape), axis=1)
    mine = np.zeros(len(spine), bool)
    mine[inside] = labels[tuple(index[inside].T)] == neighbour.vertebra
    along = np.abs(spine[:, 2])
    if not mine.any():
        return Side(min(_NO_NEIGHBOUR_MM, room), height, room, offset)
    start, end = float(along[mine].min()), float(along[mine].max())
    return Side(min(max(start - abs(float(plate[0])), 1.0), room), max(end - start, height / 2), room, offset)


def _room(body: Body, point: FloatArray, sign: int, affine: FloatArray, shape: tuple[int, ...]) -> float:
    """How far a point of the frame lies from the image's edge along the spine, mm."""
    to_index = np.linalg.inv(affine)
    index = to_index[:3, :3] @ (body.frame.origin_mm + point @ body.frame.axes) + to_index[:3, 3]
    step = to_index[:3, :3] @ body.frame.axes[2] * sign
    last = np.array(shape) - 1.0
    room = [
        ((last[axis] if step[axis] > 0 else 0.0) - index[axis]) / step[axis]
        for axis in range(3)
        if abs(step[axis]) > 1e-6
    ]
    return max(float(min(room)), 1.0)


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
