"""The smooth displacement field of one compressed vertebral body, its neighbours moved along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from radseg.transforms.vertebrae.axis import FloatArray
from radseg.transforms.vertebrae.endplates import EDGE, Body, surface

Kind = Literal["wedge", "biconcave", "crush"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_LOSS = 0.6
GENANT_LOSS = {1: (0.20, 0.25), 2: (0.25, 0.40), 3: (0.40, MOST_LOSS)}
"""Share of the height that a fracture of each grade has lost (Genant et al., JBMR 8(9), 1993); 60 % at most."""

Values = NDArray[np.float32]
Points = tuple[Values, Values, Values]

# how much of a wedge's angle the column follows; the rest opens the disc above it in front
_FOLLOWED = 0.7
# this far from the body's wall the discs and endplates give way to a gentle, even compression (arch, ribs, vessels)
_WALL_MM = (2.0, 16.0)
_EVEN_MM = 30.0
# and this far from it nothing moves
_FAR_MM = (25.0, 65.0)
_FORWARD_MM = (5.0, 45.0)
_RETURN_MM = 100.0
_DENT = 0.85
_PLATE_MM = 1.5
_BULGE = 0.15
_TOWARDS_TOP = 0.5


@dataclass(frozen=True)
class Side:
    """What lies above or below the compressed body.

    Attributes:
        disc_mm: from its endplate to the neighbour's, in the middle.
        neighbour_mm: the neighbour's height, along which it moves as a rigid body.
        room_mm: from the endplate to the image's edge along the spine.
        offset: the neighbour's middle in the body's frame, mm, (3,).
    """

    disc_mm: float
    neighbour_mm: float
    room_mm: float
    offset: FloatArray

    @property
    def held_mm(self) -> float:
        """How far from the endplate everything moves as one; at most 45 % of the room."""
        return min(self.disc_mm + self.neighbour_mm, 0.45 * self.room_mm)

    @property
    def end_mm(self) -> float:
        """How far from the endplate nothing moves any more."""
        return min(self.held_mm + _RETURN_MM, self.room_mm)


@dataclass(frozen=True)
class Compression:
    """One body compressed; a map from where a voxel lies afterwards to where its value is taken.

    In the body's frame the map runs along the spine in five stretches: below, the neighbour moved as a whole; the disc;
    the body, squeezed between its endplates; the disc above; the neighbour above. A wedge falls in front about an axis
    through its posterior edge and turns the neighbours by part of its angle, a biconcave body sinks in the middle and
    leaves them where they are, a crushed one falls everywhere and brings them together. What is lost is shared between
    both sides by the room that they have, and both return to rest where the image ends or 100 mm beyond the neighbours.

    Attributes:
        body: the body before.
        kind: wedge, biconcave or crush.
        loss: share lost of the anterior (wedge), middle (biconcave) or every height (crush), 0 to 0.6.
        below: the side below.
        above: the side above.
    """

    body: Body
    kind: Kind
    loss: float
    below: Side
    above: Side

    @property
    def share_above(self) -> float:
        """The share of the loss that the upper side moves down by; the lower side moves up by the rest."""
        below, above = self.below.end_mm, self.above.end_mm
        return above / (above + below)

    @property
    def has_room(self) -> bool:
        """Whether what lies between the body and the image's edge can be stretched by the height lost, unfolded."""
        lost = self.loss * max(self.body.height_mm(q) for q in (-EDGE, 0.0, EDGE))
        rooms = self.below.room_mm, self.above.room_mm
        return sum(rooms) >= 1.5 * lost and min(rooms) >= 0.3 * lost

    @property
    def reach_mm(self) -> tuple[float, float, float]:
        """How far from the origin anything moves: to all sides, and below and above along the spine."""
        wide = max(self.body.half_width_mm, self.body.half_depth_mm) + _FAR_MM[1]
        bend = max(float(np.linalg.norm(side.offset[:2])) for side in (self.below, self.above))
        half = self.body.height_mm(0.0) / 2 + 5
        return wide + bend, half + self.below.end_mm, half + self.above.end_mm

    def lost_mm(self, q: float) -> float:
        """Height lost in the midline at a share of the half depth, mm: −1 behind, 1 in front."""
        return float(self._lost(np.zeros(1, np.float32), np.full(1, q, np.float32))[0])

    def taken_from(self, local: Points) -> Points:
        """Where the values at points are taken, as steps in mm to the right, front and top; all arrays of one shape.

        Args:
            local: the points in the body's frame, mm.
        """
        body = self.body
        right, front, up = local
        bent_right, bent_front = self._unbent(up)
        s, t = right - bent_right, front - bent_front
        p, q = s / np.float32(body.half_width_mm), t / np.float32(body.half_depth_mm)
        radius = np.sqrt(p * p + q * q)
        wall_mm = np.sqrt(s * s + t * t) * (1 - 1 / np.maximum(radius, 1))
        rigid = [self._rigid(front, up, sign) for sign in (-1, 1)]
        near = self._body_step(p, q, up, rigid)
        even = self._evenly(up, [step[1] for step in rigid])
        beyond = _smooth((wall_mm - _WALL_MM[0]) / (_WALL_MM[1] - _WALL_MM[0]))
        up_step = near + beyond * (even - near)
        front_step = self._evenly(up, [step[0] for step in rigid])
        calm = 1 - _smooth((wall_mm - _FAR_MM[0]) / (_FAR_MM[1] - _FAR_MM[0]))
        inwards = self._bulge(radius, q, up)
        stiff = 1 - _smooth((wall_mm - _FORWARD_MM[0]) / (_FORWARD_MM[1] - _FORWARD_MM[0]))
        return -inwards * s, stiff * front_step - inwards * t, calm * up_step

    def _lost(self, p: Values, q: Values) -> Values:
        """Height lost over the outline, mm; beyond it that of its nearest point."""
        body = self.body
        if self.kind == "biconcave":
            radius2 = (p * p + q * q) / _DENT**2
            return np.asarray(self.loss * body.height_mm(0.0) * np.maximum(1 - radius2 * radius2, 0) ** 2, np.float32)
        if self.kind == "wedge":
            # behind the hinge the wall keeps its height
            share = np.clip((q + EDGE) / (2 * EDGE), 0, (1 + EDGE) / (2 * EDGE))
            return np.asarray(self.loss * body.height_mm(EDGE) * share, np.float32)
        heights = surface(body.upper - body.lower, p, q)
        return np.asarray(self.loss * heights, np.float32)

    def _rigid(self, front: Values, up: Values, side: int) -> tuple[Values, Values]:
        """The steps to the front and top of a side that moves as a whole: 1 above, −1 below."""
        if self.kind == "wedge":
            body, share = self.body, self.share_above if side > 0 else 1 - self.share_above
            plate = body.upper if side > 0 else body.lower
            lost = self.loss * body.height_mm(EDGE)
            angle = side * share * _FOLLOWED * np.arctan(lost / (2 * EDGE * body.half_depth_mm))
            hinge_front = -EDGE * body.half_depth_mm
            hinge_up = float(surface(plate, np.zeros(1), np.array([-EDGE]))[0])
            cosine, sine = np.float32(np.cos(angle) - 1), np.float32(np.sin(angle))
            x, y = front - np.float32(hinge_front), up - np.float32(hinge_up)
            return cosine * x - sine * y, sine * x + cosine * y
        still = np.zeros_like(up)
        return still, still + np.float32(side * self._moved_mm(side))

    def _moved_mm(self, side: int) -> float:
        """How far the middle of a side comes towards the body."""
        body, share = self.body, self.share_above if side > 0 else 1 - self.share_above
        if self.kind == "wedge":
            return share * _FOLLOWED * self.loss * body.height_mm(EDGE) / 2
        heights = [body.height_mm(q) for q in (-EDGE, 0.0, EDGE)]
        return share * self.loss * float(np.mean(heights)) if self.kind == "crush" else 0.0

    def _fading(self, up: Values, side: int) -> Values:
        """1 as far as a side moves as a whole, from there falling to 0."""
        found, plate = (self.above, self.body.upper) if side > 0 else (self.below, self.body.lower)
        moved = np.float32(self._moved_mm(side))
        distance = side * (up - np.float32(plate[0])) + moved
        return 1 - _smooth((distance - found.held_mm) / (found.end_mm + moved - found.held_mm))

    def _body_step(self, p: Values, q: Values, up: Values, rigid: list[tuple[Values, Values]]) -> Values:
        """The step along the spine in the five stretches from the neighbour below to the one above."""
        body = self.body
        lost = self._lost(p, q)
        from_below = self._share_of_lower_plate()
        lower_step, upper_step = -from_below * lost, (1 - from_below) * lost
        lower, upper = surface(body.lower, p, q) - lower_step, surface(body.upper, p, q) - upper_step
        height = upper - lower
        plate = np.float32(min(_PLATE_MM, 0.1 * float(height.min())))
        within = _eased(np.asarray((up - lower - plate) / (height - 2 * plate), np.float32), 0.3)
        if self.kind != "biconcave":
            # most of it gives way under the upper endplate, where the dense band of a fresh fracture lies
            within = within * (1 + _TOWARDS_TOP * (within - 1))
        step = lower_step + lost * within
        for side, found, start, first, moved in (
            (-1, self.below, lower, lower_step, rigid[0][1]),
            (1, self.above, upper, upper_step, rigid[1][1]),
        ):
            moved = moved * self._fading(up, side)
            # a thin disc gives way into the neighbour's endplate, or the map would fold
            disc = np.maximum(np.float32(found.disc_mm), 0.5 * np.abs(first)) + side * (first - moved)
            across = _eased(side * (up - start) / np.maximum(disc, 1e-3), 0.3)
            step = np.where(side * (up - start) > 0, first + across * (moved - first), step)
        return np.asarray(step, np.float32)

    def _share_of_lower_plate(self) -> float:
        """How much of the loss the lower endplate rises by.

        In a crush what the lower side does. In a wedge as much as the lower side turns: its disc keeps its shape.
        """
        if self.kind == "biconcave":
            return 0.5
        return (1 - self.share_above) * (_FOLLOWED if self.kind == "wedge" else 1.0)

    def _evenly(self, up: Values, moved: list[Values]) -> Values:
        """From the lower side's step to the upper's over the body's height and 30 mm more on both sides."""
        bottom, top = float(self.body.lower[0]) - _EVEN_MM, float(self.body.upper[0]) + _EVEN_MM
        share = _smooth((up - np.float32(bottom)) / np.float32(top - bottom))
        below, above = moved[0] * self._fading(up, -1), moved[1] * self._fading(up, 1)
        return np.asarray(below + share * (above - below), np.float32)

    def _bulge(self, radius: Values, q: Values, up: Values) -> Values:
        """The share by which the squeezed body's walls, half way up, have moved outwards."""
        if self.kind == "biconcave":
            return np.zeros_like(up)
        body = self.body
        middle = (body.lower[0] + body.upper[0]) / 2
        from_middle = (up - np.float32(middle)) / np.float32(body.height_mm(0.0) * (1 - self.loss / 2) / 2)
        most = np.float32(_BULGE * self.loss)
        if self.kind == "wedge":
            most = most * np.clip((q + EDGE) / (2 * EDGE), 0, 1)
        return np.asarray(most * (1 - _smooth(np.abs(from_middle))) * (1 - _smooth((radius - 1) / 0.9)), np.float32)

    def _unbent(self, up: Values) -> tuple[Values, Values]:
        """Where the spine's curve runs at a height: through body and neighbours' middles, straight up beyond them."""
        below, above = self.below.offset, self.above.offset
        heights = [float(below[2]), float(self.body.lower[0]), float(self.body.upper[0]), float(above[2])]
        right, front = (
            np.interp(up, heights, [below[axis], 0.0, 0.0, above[axis]]).astype(np.float32) for axis in (0, 1)
        )
        return right, front


def _smooth(x: Values) -> Values:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def _eased(x: Values, rounding: float) -> Values:
    """From 0 to 1 with an even slope but for the rounded ends, which take this share of the way together."""
    half = rounding / 2
    slope = 1 / (1 - half)
    x = np.clip(x, 0, 1)
    ends = np.minimum(x, 1 - x)
    rise = np.where(ends < half, ends * ends / (2 * half), ends - half / 2) * slope
    return np.asarray(np.where(x < 0.5, rise, 1 - rise), np.float32)
