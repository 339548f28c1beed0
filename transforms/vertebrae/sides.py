"""What lies below and above a vertebral body: its neighbour, the discs further on, and the image's edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from radseg.transforms.vertebrae.axis import FloatArray, LabelArray, Placed, to_mm
from radseg.transforms.vertebrae.endplates import Body

_RETURN_MM = 100.0
_NO_NEIGHBOUR_MM = 5.0
_THINNEST_MM = 2.0
_STEP_MM = 0.25
# sampled from here on, a line along the grid meets no edge between voxels, where rounding would tell up from down
_START_MM = 0.1


@dataclass(frozen=True)
class Gap:
    """The disc between two vertebrae of a side, or the tissue between its last vertebra and where it comes to rest.

    Attributes:
        near: where the vertebra nearer to the body ends, in the body's frame, mm, (3,).
        far: where the next one begins, likewise.
    """

    near: FloatArray
    far: FloatArray

    @property
    def thickness_mm(self) -> float:
        """From the one vertebra to the other."""
        return float(np.linalg.norm(self.far - self.near))

    @property
    def outwards(self) -> FloatArray:
        """The unit vector away from the body, (3,)."""
        found: FloatArray = (self.far - self.near) / self.thickness_mm
        return found

    @property
    def middle(self) -> FloatArray:
        """Halfway between the two, mm, (3,)."""
        found: FloatArray = (self.near + self.far) / 2
        return found


@dataclass(frozen=True)
class Side:
    """What lies above or below the compressed body.

    Attributes:
        disc_mm: from its endplate to the neighbour's, in the middle.
        neighbour_mm: the neighbour's height, along which it moves as a rigid body.
        room_mm: from the endplate to the image's edge along the spine.
        offset: the neighbour's middle in the body's frame, mm, (3,).
        gaps: the discs beyond the neighbour, outwards, as far as anything moves.
    """

    disc_mm: float
    neighbour_mm: float
    room_mm: float
    offset: FloatArray
    gaps: tuple[Gap, ...] = ()

    @property
    def held_mm(self) -> float:
        """How far from the endplate everything moves as one; at most 45 % of the room."""
        return min(self.disc_mm + self.neighbour_mm, 0.45 * self.room_mm)

    @property
    def end_mm(self) -> float:
        """How far from the endplate nothing moves any more."""
        return min(self.held_mm + _RETURN_MM, self.room_mm)

    @property
    def course(self) -> list[FloatArray]:
        """The spine's curve from the neighbour outwards: its middle and those of the discs, mm, (3,) each."""
        return [self.offset, *(gap.middle for gap in self.gaps)]

    def at(self, plate_mm: float, distance_mm: float) -> FloatArray:
        """The point of the spine's curve at a distance from the endplate, which lies at `plate_mm`, (3,)."""
        sign = float(np.sign(self.offset[2]))
        course = np.array([[0.0, 0.0, plate_mm], *self.course])
        found: FloatArray = np.array(
            [np.interp(sign * plate_mm + distance_mm, sign * course[:, 2], course[:, axis]) for axis in range(3)]
        )
        found[2] = plate_mm + sign * distance_mm
        return found


def with_body(body: Body, neighbour: Placed | None, sign: int) -> Placed | None:
    """The neighbour, or None where the image shows its arch alone, whose middle is no body's: too near, or behind.

    Args:
        body: beside which it lies.
        neighbour: as it was found.
        sign: 1 above, −1 below.
    """
    if neighbour is None or not neighbour.cut:
        return neighbour
    plate = body.upper if sign > 0 else body.lower
    right, front, up = (float(one) for one in body.frame.local(neighbour.centre_mm))
    beyond = sign * (up - float(plate[0]))
    return neighbour if beyond >= body.height_mm(0.0) / 2 and float(np.hypot(right, front)) <= beyond / 1.5 else None


def side_of(
    labels: LabelArray, affine: FloatArray, body: Body, neighbour: Placed | None, others: Sequence[Placed], sign: int
) -> Side:
    """Measure one side of a body.

    Args:
        labels: one number per vertebra, (i, j, k).
        affine: voxel to RAS mm, (4, 4).
        body: whose side it is.
        neighbour: the vertebra next to it, or None.
        others: all vertebrae around, from the lowest to the highest.
        sign: 1 above, −1 below.
    """
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
    along = np.abs(spine[:, 2])
    mine = _values_at(labels, affine, body, spine) == neighbour.vertebra
    if not mine.any():
        return Side(min(_NO_NEIGHBOUR_MM, room), height, room, offset)
    start, end = float(along[mine].min()), float(along[mine].max())
    side = Side(min(max(start - abs(float(plate[0])), 1.0), room), max(end - start, height / 2), room, offset)
    last = abs(float(plate[0])) + side.end_mm
    further = [
        neighbour,
        *(others[others.index(neighbour) + 1 :] if sign > 0 else others[: others.index(neighbour)][::-1]),
    ]
    return replace(side, gaps=tuple(_gaps(labels, affine, body, further, sign, last)))


def _gaps(
    labels: LabelArray, affine: FloatArray, body: Body, column: Sequence[Placed], sign: int, last_mm: float
) -> Iterator[Gap]:
    """The discs between vertebrae of a side outwards, and what lies beyond its last one, no further up than a limit."""
    centre, direction = body.frame.local(column[0].centre_mm), np.array([0.0, 0.0, float(sign)])
    end = _end(labels, affine, body, column[0], centre, direction)
    for one, other in pairwise(column):
        following = body.frame.local(other.centre_mm)
        way = following - centre
        length = float(np.linalg.norm(way))
        # an arch that the image's edge parts from its body has no middle to go by
        if sign * way[2] < 0.5 * length:
            break
        at = np.arange(_START_MM, length, _STEP_MM)[:, None] * way / length + centre
        values = _values_at(labels, affine, body, at)
        mine, next_one = np.flatnonzero(values == one.vertebra), np.flatnonzero(values == other.vertebra)
        if not len(mine) or not len(next_one):
            break
        middle = (at[mine[-1]] + at[next_one[0]]) / 2
        half = max(float(np.linalg.norm(at[next_one[0]] - at[mine[-1]])), _THINNEST_MM) / 2 * way / length
        if sign * (middle + half)[2] > last_mm:
            return
        yield Gap(middle - half, middle + half)
        centre, direction = following, way / length
        end = _end(labels, affine, body, other, centre, direction)
    rest = last_mm - sign * float(end[2])
    if rest > _THINNEST_MM:
        yield Gap(end, end + np.array([0.0, 0.0, sign * rest]))


def _end(
    labels: LabelArray, affine: FloatArray, body: Body, vertebra: Placed, centre: FloatArray, direction: FloatArray
) -> FloatArray:
    """Where a vertebra ends in a direction from its middle."""
    at = np.arange(_START_MM, 40, _STEP_MM)[:, None] * direction + centre
    mine = np.flatnonzero(_values_at(labels, affine, body, at) == vertebra.vertebra)
    found: FloatArray = at[mine[-1]] if len(mine) else centre
    return found


def _values_at(labels: LabelArray, affine: FloatArray, body: Body, points: FloatArray) -> LabelArray:
    """The labels at points (n, 3) of the body's frame, 0 outside the image."""
    to_index: FloatArray = np.asarray(np.linalg.inv(affine), float)
    index = np.rint(to_mm(points @ body.frame.axes + body.frame.origin_mm, to_index)).astype(int)
    inside = np.all((index >= 0) & (index < labels.shape), axis=1)
    found: LabelArray = np.zeros(len(points), labels.dtype)
    found[inside] = labels[tuple(index[inside].T)]
    return found


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
