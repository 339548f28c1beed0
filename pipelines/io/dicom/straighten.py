"""Tilted and unevenly spaced slices resampled to an upright, regular grid; linear, and no slice is turned.

A slice's rows and columns stay parallel to the grid's: a gantry tilt is a shift within the slice that grows with its
depth, and what lies between two slices is mixed from the two, each shifted first, so that a structure stays where it
was in the patient.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io.volume import Voxels

_WHOLE_PIXEL = 1e-3
_MOST_ADDED = 1 << 20  # columns or rows: far more than any real series needs, few enough to count in

_Plane = npt.NDArray[np.float32 | np.int16]


@dataclass(frozen=True, eq=False)
class Straightening:
    """How slices come onto the grid.

    Attributes:
        at: of each slice, its place along the grid in planes, ascending from 0; whole where a plane is that slice.
        planes: number of planes of the grid.
        shift_ij: (slice, 2), the column and row of the grid at which each slice's first pixel lies; not below 0.
        before_ij: columns and rows that the grid has before the first slice's first pixel.
        size_ij: columns and rows of the grid, large enough for every pixel of every slice.
        growth: how many times as many voxels the grid has as the slices.
    """

    at: npt.NDArray[np.float64]
    planes: int
    shift_ij: npt.NDArray[np.float64]
    before_ij: tuple[int, int]
    size_ij: tuple[int, int]
    growth: float

    @classmethod
    def of(
        cls, shape_ij: tuple[int, int], shift_ij: npt.NDArray[np.float64], at: npt.NDArray[np.float64], planes: int
    ) -> "Straightening":
        """The grid for slices of `shape_ij` pixels, shifted by `shift_ij` (slice, 2) pixels against the first one.

        The first slice's pixels are the grid's: only whole pixels are added before it.
        """
        before_ij = np.clip(np.ceil(-shift_ij.min(axis=0) - _WHOLE_PIXEL), 0, _MOST_ADDED)
        after_ij = np.clip(np.ceil(shift_ij.max(axis=0) - _WHOLE_PIXEL), 0, _MOST_ADDED)
        size_ij = np.add(shape_ij, before_ij) + after_ij
        growth = planes * float(size_ij.prod()) / (len(at) * shape_ij[0] * shape_ij[1])
        before = int(before_ij[0]), int(before_ij[1])
        return cls(at, planes, shift_ij + before_ij, before, (int(size_ij[0]), int(size_ij[1])), growth)


def straighten(stack_kji: Voxels, how: Straightening, outside: float) -> Voxels:
    """The stack (slice, row, column) on its grid (plane, row, column); `outside` where no slice reaches.

    Of the stack's type: int16 is rounded to the nearest whole number. Beside the result it takes the memory of a few
    slices. A pixel reaches half its width beyond its centre; a plane between two slices of which only one reaches a
    voxel takes that one's value there, one beyond the last slice (by up to half a step) the last slice.
    """
    columns, rows = how.size_ij
    straight = np.full((how.planes, rows, columns), outside, stack_kji.dtype)
    below = 0
    shifted = {0: _shifted(stack_kji[0], how.shift_ij[0])}
    for plane in range(how.planes):
        while below + 1 < len(how.at) and how.at[below + 1] <= plane:
            below += 1
        above = below + 1
        weight = 0.0
        if above < len(how.at):
            weight = (plane - how.at[below]) / (how.at[above] - how.at[below])
        wanted = (below, above) if weight > 0 else (below,)
        shifted = {
            one: shifted[one] if one in shifted else _shifted(stack_kji[one], how.shift_ij[one]) for one in wanted
        }
        for one in wanted:
            (row, column), pixels = shifted[one]
            straight[plane, row : row + pixels.shape[0], column : column + pixels.shape[1]] = _as(pixels, straight)
        if weight > 0:
            _mix(straight[plane], shifted[below], shifted[above], np.float32(weight))
    return straight


def _mix(
    plane: _Plane, below: tuple[tuple[int, int], _Plane], above: tuple[tuple[int, int], _Plane], weight: np.float32
) -> None:
    """Put the mixture of two shifted slices where both reach."""
    start = np.maximum(below[0], above[0])
    stop = np.minimum(np.add(below[0], below[1].shape), np.add(above[0], above[1].shape))
    if (stop <= start).any():
        return
    parts = []
    for corner, pixels in (below, above):
        (top, left), (bottom, right) = start - corner, stop - corner
        parts.append(pixels[top:bottom, left:right].astype(np.float32))
    parts[1] -= parts[0]
    parts[1] *= weight
    parts[1] += parts[0]
    plane[start[0] : stop[0], start[1] : stop[1]] = _as(parts[1], plane)


def _shifted(slice_ji: _Plane, shift_ij: npt.NDArray[np.float64]) -> tuple[tuple[int, int], _Plane]:
    """A slice's pixels on the grid's, with the row and column of the first: as many as it has, for every shift."""
    corner = []
    for axis, shift in ((0, shift_ij[1]), (1, shift_ij[0])):
        first = int(np.ceil(shift - 0.5))
        part = shift - first  # within half a pixel
        corner.append(first)
        if abs(part) > _WHOLE_PIXEL:
            slice_ji = _moved(slice_ji, part, axis)
    return (corner[0], corner[1]), slice_ji


def _moved(slice_ji: _Plane, part: float, axis: int) -> _Plane:
    """Linear interpolation at a part of a pixel before (part > 0) or after each pixel; the edge repeats."""
    pixels = np.moveaxis(slice_ji.astype(np.float32), axis, 0)
    neighbours = np.concatenate([pixels[:1], pixels[:-1]] if part > 0 else [pixels[1:], pixels[-1:]])
    neighbours -= pixels
    neighbours *= np.float32(abs(part))
    neighbours += pixels
    return np.moveaxis(neighbours, 0, axis)


def _as(pixels: _Plane, like: _Plane) -> _Plane:
    """Pixels to be stored in an array of another's type: rounded for int16."""
    return np.rint(pixels) if like.dtype == np.int16 and pixels.dtype != np.int16 else pixels
