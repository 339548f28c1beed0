"""The vertebrae beside a compressed one, each moved as a whole; the discs between them take up the difference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from radseg.transforms.vertebrae.axis import FloatArray
from radseg.transforms.vertebrae.sides import Side

Values = NDArray[np.float32]
Points = tuple[Values, Values, Values]
Steps = tuple[Values, Values]

# discs stretch, open or shear by half of their thickness at most; what is more is spread over the vertebrae too
_DISCS_GIVE = 0.5
_LEVER_MM = 16.0
_THINNED = 0.3
# sections across a bent spine come together this far off by at most this share
_FAR_OFF_MM = 50.0
_MEET = 0.4


@dataclass(frozen=True)
class Rigid:
    """A turn about an axis from side to side, and a step; it says where the values of what moves are taken.

    Attributes:
        angle: radians, positive where what lies in front is taken from further up.
        pivot: front and top of the axis, mm.
        step: to the front and top, mm.
    """

    angle: float = 0.0
    pivot: tuple[float, float] = (0.0, 0.0)
    step: tuple[float, float] = (0.0, 0.0)

    def steps(self, front: Values, up: Values) -> Steps:
        """The steps to the front and top in mm at points of the frame."""
        if not self.angle:
            return np.full_like(up, self.step[0]), np.full_like(up, self.step[1])
        cosine, sine = np.float32(np.cos(self.angle) - 1), np.float32(np.sin(self.angle))
        x, y = front - np.float32(self.pivot[0]), up - np.float32(self.pivot[1])
        return cosine * x - sine * y + np.float32(self.step[0]), sine * x + cosine * y + np.float32(self.step[1])


@dataclass(frozen=True)
class Column:
    """How a side of a compressed body moves: the neighbour as a whole, all others likewise, each less than the last.

    A smooth curve brings the way to the front back to 0, each section across turning along it, as a beam bends: nothing
    is sheared. The bodies of vertebrae take no part in bending and stretching as far as discs can do it alone, each by
    its thickness; what surrounds them bends evenly.

    Attributes:
        side: what lies there.
        sign: 1 above, −1 below.
        plate_mm: the body's endplate in its frame, along the spine.
        first: how the neighbour moves.
    """

    side: Side
    sign: int
    plate_mm: float
    first: Rigid

    @property
    def moves(self) -> bool:
        """Whether anything does."""
        return self.first != Rigid()

    @cached_property
    def rigid_share(self) -> float:
        """How much of the motion discs alone can take up, 0 to 1."""
        gaps, turns = self.side.gaps, [self.first, *self._others]
        if not gaps or not self.moves:
            return 0.0
        asked = [abs(_at(self.first, gaps[0].middle)[1]) / sum(gap.thickness_mm for gap in gaps)]
        for gap, here, there in zip(gaps, turns[:-1], turns[1:], strict=True):
            sheared = abs(_at(here, gap.near)[0] - _at(there, gap.far)[0])
            asked.append((abs(here.angle - there.angle) * _LEVER_MM + sheared) / gap.thickness_mm)
        return min(1.0, _DISCS_GIVE / max(*asked, 1e-6))

    def bodies(self, local: Points, evenly: Steps) -> Steps:
        """The steps of vertebral bodies and discs to the front and top in mm, at points of the frame.

        Args:
            local: the points.
            evenly: what `evenly` says of them.
        """
        right, front, up = local
        share = np.float32(self.rigid_share)
        if share == 0:
            return evenly
        found = here = self._held(front, up)
        for gap, motion in zip(self.side.gaps, self._others, strict=True):
            there = motion.steps(front, up)
            sideways, forwards, upwards = (np.float32(one) for one in gap.outwards)
            at = sideways * right + forwards * front + upwards * up - np.float32(gap.near @ gap.outwards)
            opened = forwards * (here[0] - there[0]) + upwards * (here[1] - there[1])
            thickness = np.maximum(np.float32(gap.thickness_mm) + opened, np.float32(_THINNED * gap.thickness_mm))
            across = eased((at + forwards * here[0] + upwards * here[1]) / thickness, 0.3)
            found = found[0] + across * (there[0] - found[0]), found[1] + across * (there[1] - found[1])
            here = there
        return evenly[0] + share * (found[0] - evenly[0]), evenly[1] + share * (found[1] - evenly[1])

    def evenly(self, front: Values, up: Values, course_front: Values) -> Steps:
        """The steps to the front and top in mm of a side that bends and stretches evenly beyond the neighbour.

        Args:
            front: the points' fronts in the frame.
            up: their tops.
            course_front: the front of the spine's curve at their tops.
        """
        if not self.moves:
            return np.zeros_like(up), np.zeros_like(up)
        held = self._held(front, up)
        curve, slope, along = self._curve(up)
        rest, off = 1 - smooth(along), front - course_front
        # across a curve too sharp for what lies far behind or in front, the turn fades instead
        turned = self._bend * slope - np.float32((1 - self._bend) * np.sin(self.first.angle)) * rest
        forwards = curve + (np.sqrt(1 - turned * turned) - 1) * off
        upwards = np.float32(self._start[1]) * rest - turned * off
        beyond = along > 0
        return np.where(beyond, forwards, held[0]), np.where(beyond, upwards, held[1])

    def _held(self, front: Values, up: Values) -> Steps:
        """How the neighbour moves, its forward swing no further than the endplate: the body's walls stay straight."""
        forwards, upwards = self.first.steps(front, up)
        within = np.maximum(-self.sign * (up + upwards - np.float32(self.plate_mm)), 0)
        return forwards - np.float32(self.sign * np.sin(self.first.angle)) * within, upwards

    @cached_property
    def _start_up(self) -> float:
        """Where the side stops moving as one, after the move, along the spine."""
        moved = self.sign * _at(self.first, self.side.at(self.plate_mm, self.side.held_mm))[1]
        return self.plate_mm + self.sign * (self.side.held_mm - moved)

    @cached_property
    def _start(self) -> tuple[float, float]:
        """The steps to the front and top there, on the spine's curve."""
        return _at(self.first, self.side.at(self.plate_mm, self.sign * (self._start_up - self.plate_mm)))

    @cached_property
    def _bend(self) -> float:
        """How much of the curve's turning sections across it can follow without folding where they meet, 0 to 1."""
        length = self.plate_mm + self.sign * self.side.end_mm - self._start_up
        sharpest = abs(6 * self._start[0] / length**2 - 4 * np.sin(self.first.angle) / length)
        return min(1.0, _MEET / max(float(sharpest) * _FAR_OFF_MM, 1e-6))

    def _curve(self, up: Values) -> tuple[Values, Values, Values]:
        """The spine's steps to the front, how they change upwards, and the share of the way to where all rests."""
        start = self._start_up
        length = self.plate_mm + self.sign * self.side.end_mm - start
        forwards, slope = np.float32(self._start[0]), np.float32(-np.sin(self.first.angle))
        x = np.asarray(np.clip((up - np.float32(start)) / np.float32(length), 0, 1), np.float32)
        left = 1 - x
        curve = left * left * (forwards * (1 + 2 * x) + slope * np.float32(length) * x)
        change = left * (slope * (1 - 3 * x) - 6 * forwards / np.float32(length) * x)
        return curve, change, x

    @cached_property
    def _others(self) -> list[Rigid]:
        """How each vertebra beyond the neighbour moves; the last one stays."""
        gaps = self.side.gaps
        if not gaps:
            return []
        upwards = _at(self.first, gaps[0].middle)[1]
        rest = 1 - np.cumsum([gap.thickness_mm for gap in gaps]) / sum(gap.thickness_mm for gap in gaps)
        turned = []
        for left, (near, far) in zip(rest, pairwise(gaps), strict=False):
            start, end = float(near.far[2]), float(far.near[2])
            ends = self._curve(np.array([start, end], np.float32))[0]
            angle = -float(np.arcsin(np.clip((ends[1] - ends[0]) / (end - start), -0.5, 0.5)))
            turned.append(Rigid(angle, (float(near.far[1]), start), (float(ends[0]), upwards * float(left))))
        return [*turned, Rigid()]


def smooth(x: Values) -> Values:
    """From 0 to 1, level at both ends."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def eased(x: Values, rounding: float) -> Values:
    """From 0 to 1 with an even slope but for the rounded ends, which take this share of the way together."""
    half = rounding / 2
    slope = 1 / (1 - half)
    x = np.clip(x, 0, 1)
    ends = np.minimum(x, 1 - x)
    rise = np.where(ends < half, ends * ends / (2 * half), ends - half / 2) * slope
    return np.asarray(np.where(x < 0.5, rise, 1 - rise), np.float32)


def _at(motion: Rigid, point: FloatArray) -> tuple[float, float]:
    front, up = motion.steps(*(np.asarray(point[axis], np.float32) for axis in (1, 2)))
    return float(front), float(up)
