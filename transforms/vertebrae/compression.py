"""The smooth displacement field of one compressed vertebral body, its neighbours moved along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from radseg.transforms.vertebrae.column import Column, Points, Rigid, Steps, Values, eased, smooth
from radseg.transforms.vertebrae.endplates import EDGE, Body, surface
from radseg.transforms.vertebrae.sides import Side

Kind = Literal["wedge", "biconcave", "crush"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_LOSS = 0.6
GENANT_LOSS = {1: (0.20, 0.25), 2: (0.25, 0.40), 3: (0.40, MOST_LOSS)}
"""Share of the height that a fracture of each grade has lost (Genant et al., JBMR 8(9), 1993); 60 % at most."""

# how much of a wedge's angle the column follows; the rest opens the disc above it in front
_FOLLOWED = 0.7
_LEAST_TURN = 0.6
# this far from the body's wall the discs and endplates give way to a gentle, even compression (arch, ribs, vessels)
_WALL_MM = (6.0, 20.0)
_EVEN_MM = 30.0
# and this far from it nothing moves
_FAR_MM = (25.0, 65.0)
_DENT = 0.85
_PLATE_MM = 1.5
_BULGE = 0.15
_TOWARDS_TOP = 0.5


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
        sides = (self.below, self.above)
        bend = max(float(np.linalg.norm(point[:2])) for side in sides for point in side.course)
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
        evenly = [column.evenly(front, up, bent_front) for column in self._columns]
        steps = self._evenly(up, *evenly)
        close = wall_mm < _WALL_MM[1]
        points = right[close], front[close], up[close]
        bodies = [
            column.bodies(points, (forwards[close], upwards[close]))
            for column, (forwards, upwards) in zip(self._columns, evenly, strict=True)
        ]
        share = 1 - smooth((wall_mm[close] - _WALL_MM[0]) / (_WALL_MM[1] - _WALL_MM[0]))
        for step, near in zip(steps, self._body_step(p[close], q[close], points[2], *bodies), strict=True):
            step[close] += share * (near - step[close])
        front_step, up_step = steps
        calm = 1 - smooth((wall_mm - _FAR_MM[0]) / (_FAR_MM[1] - _FAR_MM[0]))
        inwards = self._bulge(radius, q, up)
        return -inwards * s, calm * front_step - inwards * t, calm * up_step

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

    @cached_property
    def _columns(self) -> tuple[Column, Column]:
        """The sides that move as a whole, below and above."""
        return self._column(-1), self._column(1)

    def _column(self, side: int) -> Column:
        """The side that moves as a whole: 1 above, −1 below."""
        found, plate = (self.above, self.body.upper) if side > 0 else (self.below, self.body.lower)
        column = Column(found, side, float(plate[0]), self._rigid(side, 1.0))
        share = column.rigid_share
        # where little room makes the way back a sharp bend, the neighbour turns less, and its disc opens more
        return column if share == 1 else replace(column, first=self._rigid(side, max(share, _LEAST_TURN)))

    def _rigid(self, side: int, turned: float) -> Rigid:
        """How the neighbour on a side moves, a wedge's turned by a share of what it may."""
        if self.kind != "wedge":
            return Rigid(step=(0.0, side * self._moved_mm(side)))
        body, share = self.body, self.share_above if side > 0 else 1 - self.share_above
        plate = body.upper if side > 0 else body.lower
        lost = self.loss * body.height_mm(EDGE)
        angle = turned * side * share * _FOLLOWED * np.arctan(lost / (2 * EDGE * body.half_depth_mm))
        hinge_up = float(surface(plate, np.zeros(1), np.array([-EDGE]))[0])
        return Rigid(float(angle), (-EDGE * body.half_depth_mm, hinge_up))

    def _moved_mm(self, side: int) -> float:
        """How far a side comes towards the body that doesn't turn."""
        share = self.share_above if side > 0 else 1 - self.share_above
        heights = [self.body.height_mm(q) for q in (-EDGE, 0.0, EDGE)]
        return share * self.loss * float(np.mean(heights)) if self.kind == "crush" else 0.0

    def _body_step(self, p: Values, q: Values, up: Values, below: Steps, above: Steps) -> Steps:
        """The steps to the front and top in the five stretches from the neighbour below to the one above."""
        body = self.body
        lost = self._lost(p, q)
        from_below = self._share_of_lower_plate()
        lower_step, upper_step = -from_below * lost, (1 - from_below) * lost
        lower, upper = surface(body.lower, p, q) - lower_step, surface(body.upper, p, q) - upper_step
        height = upper - lower
        plate = np.float32(min(_PLATE_MM, 0.1 * self._least_height_mm))
        within = eased(np.asarray((up - lower - plate) / (height - 2 * plate), np.float32), 0.3)
        if self.kind != "biconcave":
            # most of it gives way under the upper endplate, where the dense band of a fresh fracture lies
            within = within * (1 + _TOWARDS_TOP * (within - 1))
        step = lower_step + lost * within
        for side, found, start, first, moved in (
            (-1, self.below, lower, lower_step, below[1]),
            (1, self.above, upper, upper_step, above[1]),
        ):
            # a thin disc gives way into the neighbour's endplate, or the map would fold
            disc = np.maximum(np.float32(found.disc_mm), 0.5 * np.abs(first)) + side * (first - moved)
            across = eased(side * (up - start) / np.maximum(disc, 1e-3), 0.3)
            step = np.where(side * (up - start) > 0, first + across * (moved - first), step)
        forwards = below[0] + smooth((up - lower) / height) * (above[0] - below[0])
        return forwards, np.asarray(step, np.float32)

    @cached_property
    def _least_height_mm(self) -> float:
        """The body's height where it is lowest after the loss."""
        turn, radius = np.meshgrid(np.linspace(0, 2 * np.pi, 73), np.linspace(0, 1, 21))
        p, q = (np.asarray(axis * radius, np.float32) for axis in (np.cos(turn), np.sin(turn)))
        left = surface(self.body.upper - self.body.lower, p, q) - self._lost(p, q)
        return float(left.min())

    def _share_of_lower_plate(self) -> float:
        """How much of the loss the lower endplate rises by.

        What the lower side's room allows; in a wedge as much as the lower side turns, so its disc keeps its shape.
        """
        return (1 - self.share_above) * (_FOLLOWED if self.kind == "wedge" else 1.0)

    def _evenly(self, up: Values, below: Steps, above: Steps) -> Steps:
        """From the lower side's steps to the upper's over the body's height and 30 mm more on both sides."""
        bottom, top = float(self.body.lower[0]) - _EVEN_MM, float(self.body.upper[0]) + _EVEN_MM
        share = smooth((up - np.float32(bottom)) / np.float32(top - bottom))
        return below[0] + share * (above[0] - below[0]), below[1] + share * (above[1] - below[1])

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
        return np.asarray(most * (1 - smooth(np.abs(from_middle))) * (1 - smooth((radius - 1) / 0.9)), np.float32)

    def _unbent(self, up: Values) -> tuple[Values, Values]:
        """Where the spine's curve runs at a height: through body, neighbours' middles and discs, straight up beyond."""
        points = [
            *reversed(self.below.course),
            np.array([0.0, 0.0, self.body.lower[0]]),
            np.array([0.0, 0.0, self.body.upper[0]]),
            *self.above.course,
        ]
        heights = [float(point[2]) for point in points]
        right, front = (np.interp(up, heights, [point[axis] for point in points]).astype(np.float32) for axis in (0, 1))
        return right, front
