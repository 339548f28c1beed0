"""The outlines of a mask along the borders of its pixels, holes joined to the outside by a keyhole.

A point belongs to the contour's inside exactly where its pixel belongs to the mask, so that the mask comes back whole
when the pixels' centres are looked up. Pixels that touch at a corner only are outlined apart, and no outline crosses
itself or another. A hole is reached from its topmost left corner by a channel of no width that runs left, along the
border between two rows of pixels, to the nearest outline of the same piece (the "keyhole" of DICOM PS3.3 C.8.8.6.3):
one closed line then reads the same by the even-odd rule, by the winding rule, and alone or combined with others by
union or exclusive or.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def outlines(mask: npt.NDArray[np.bool_]) -> list[Points]:
    """The closed outlines of one plane, a piece each.

    Args:
        mask: (rows, columns).

    Returns:
        (points, 2) each: column and row, where the centre of the first pixel is (0, 0) and its border at ±0.5. The
        last point isn't the first again; the inside lies to the right of the way (columns to the right, rows down);
        there is no point in the middle of a straight line but where a channel meets it.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    top, left = int(rows[0]), int(columns[0])
    inside = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    corners = _corners(inside)
    loops = _Loops(corners.x.tolist(), corners.y.tolist(), _successors(corners).tolist())
    outer, holes = loops.first_corners(corners)
    _join(loops, holes, inside, corners)
    offset = np.array([left - 0.5, top - 0.5])
    return [_without_repeats(loops.walk(start)) + offset for start in outer]


@dataclass(frozen=True, eq=False)
class _Corners:
    """Where outlines turn, sorted by y, then x; two at a place where pixels touch at their corners only.

    Attributes:
        x, y: border between columns, between rows, from 0 at the top left of the cropped mask.
        to_right, to_bottom: whether the horizontal line leaves to the right, the vertical one downwards.
        below_inside: whether the pixels below the horizontal line are inside (those above it then are not).
    """

    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    to_right: npt.NDArray[np.bool_]
    to_bottom: npt.NDArray[np.bool_]
    below_inside: npt.NDArray[np.bool_]


def _corners(inside: npt.NDArray[np.bool_]) -> _Corners:
    """Corners of a mask with an empty border of one pixel."""
    nw, ne, sw, se = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    turns = (nw ^ ne ^ sw ^ se) | ((nw == se) & (ne == sw) & (nw != ne))
    y, x = np.nonzero(turns)
    nw, ne, sw, se = nw[y, x], ne[y, x], sw[y, x], se[y, x]
    touching = (nw == se) & (ne == sw)
    # where pixels touch at a corner, the first of the two outlines is the one that comes from the left
    to_right = ~touching & (ne != se)
    to_bottom = np.where(touching, ne, sw != se)
    twin = np.flatnonzero(touching)
    y, x = np.concatenate([y, y[twin]]), np.concatenate([x, x[twin]])
    sw, se = np.concatenate([sw, sw[twin]]), np.concatenate([se, se[twin]])
    to_bottom = np.concatenate([to_bottom, ~to_bottom[twin]])
    to_right = np.concatenate([to_right, np.ones(twin.size, bool)])
    order = np.lexsort((to_right, x, y))
    below_inside = np.where(to_right, se, sw)
    return _Corners(x[order], y[order], to_right[order], to_bottom[order], below_inside[order])


def _successors(corners: _Corners) -> npt.NDArray[np.int64]:
    """The corner that follows each on its outline, with the inside to the right of the way."""
    across = _pairs(np.arange(corners.x.size))
    along = _pairs(np.lexsort((corners.to_bottom, corners.y, corners.x)))
    return np.where(corners.to_right == corners.below_inside, across, along)


def _pairs(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The other end of each corner's line, when lines join the first and second, third and fourth … in this order."""
    other = np.empty_like(order)
    other[order[::2]], other[order[1::2]] = order[1::2], order[::2]
    return other


class _Loops:
    """Closed lines as a list of points that each know the next."""

    def __init__(self, x: list[int], y: list[int], following: list[int]) -> None:
        self.x, self.y, self.following = x, y, following

    def first_corners(self, corners: _Corners) -> tuple[list[int], list[int]]:
        """The topmost left corner of each line around a piece, and of each line around a hole."""
        outer: list[int] = []
        holes: list[int] = []
        seen = bytearray(len(self.following))
        is_outer = (corners.to_right & corners.to_bottom & corners.below_inside).tolist()
        for start in range(len(seen)):
            if seen[start]:
                continue
            (outer if is_outer[start] else holes).append(start)
            here = start
            while not seen[here]:
                seen[here] = 1
                here = self.following[here]
        return outer, holes

    def add(self, x: int, y: int, following: int) -> int:
        """A new point that leads to another."""
        self.x.append(x)
        self.y.append(y)
        self.following.append(following)
        return len(self.x) - 1

    def walk(self, start: int) -> npt.NDArray[np.int64]:
        """The points of a line, (points, 2), from one of them round."""
        found = [start]
        here = self.following[start]
        while here != start:
            found.append(here)
            here = self.following[here]
        return np.array([[self.x[one], self.y[one]] for one in found])


def _join(loops: _Loops, holes: list[int], inside: npt.NDArray[np.bool_], corners: _Corners) -> None:
    """Leads the line around each hole's piece into the hole and back again."""
    if not holes:
        return
    height = inside.shape[0]
    borders = inside[1:-1, :-1] != inside[1:-1, 1:]  # of each row of pixels, which of its vertical borders are lines
    nearest = np.maximum.accumulate(np.where(borders, np.arange(borders.shape[1]), -1), axis=1)
    ends = np.lexsort((corners.to_bottom, corners.y, corners.x))
    tops, bottoms = ends[::2], ends[1::2]
    places = corners.x[tops] * height + corners.y[tops]
    before = dict(zip(loops.following, range(len(loops.following)), strict=True))
    tail: dict[int, int] = {}  # of each vertical line that was met, the point that its last channel left it at
    # lines with the inside to their right are walked upwards, so channels from below come first
    for hole in sorted(holes, key=loops.y.__getitem__, reverse=True):
        x, y = loops.x[hole], loops.y[hole]
        met = int(max(nearest[y, x - 1], nearest[y - 1, x - 1]))
        row = y if nearest[y, x - 1] == met else y - 1
        bottom = int(bottoms[np.searchsorted(places, met * height + row, side="right") - 1])
        start = tail.get(bottom, bottom)
        back = loops.add(met, y, loops.following[start])
        loops.following[start] = loops.add(met, y, hole)
        loops.following[before[hole]] = loops.add(x, y, back)
        tail[bottom] = back


def _without_repeats(points: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    kept: npt.NDArray[np.int64] = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    return kept
