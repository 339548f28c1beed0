"""The line about which a flat mask is most nearly its own mirror image."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

_SIDE = 160  # pixels of the longer side that the search is done at
_MOST_DEGREES = 20.0
_STEPS_DEGREES = (2.0, 0.5, 0.125)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MirrorAxis:
    """A line in an image, (row, column) in pixels.

    Attributes:
        row, column: a point on it.
        tilt_degrees: how far it is turned clockwise, as seen, from the image's columns.
        overlap: Dice of the mask with its mirror image about it.
        row_size: height of a pixel over its width.
    """

    row: float
    column: float
    tilt_degrees: float
    overlap: float
    row_size: float = 1.0

    def beyond(self, shape: tuple[int, int]) -> Mask:
        """The pixels at the right of the line, as seen."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        tilt = np.deg2rad(self.tilt_degrees)
        return np.asarray((columns - self.column) * np.cos(tilt) + (rows - self.row) * self.row_size * np.sin(tilt) > 0)

    def width_over_height(self, mask: Mask) -> float:
        """How far a mask reaches across the line over how far it reaches along it."""
        rows, columns = np.nonzero(mask)
        x, y = columns - self.column, (rows - self.row) * self.row_size
        tilt = np.deg2rad(self.tilt_degrees)
        across, along = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
        return float((np.ptp(across) + 1) / (np.ptp(along) + self.row_size))


def mirror_axis(mask: Mask, row_size: float = 1.0) -> MirrorAxis:
    """The axis of the largest Dice between a mask and its mirror image, within 20° of the image's columns.

    For each tilt the mask is turned upright, and the overlap of its rows with their reversal, for all axes at once, is
    their convolution with themselves.

    Args:
        mask: (row, column), not empty.
        row_size: height of a pixel over its width.
    """
    wide, high = mask.shape[1], mask.shape[0] * row_size
    scale = min(1.0, _SIDE / max(wide, high))
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(small > 0.5)
    if not len(rows):
        rows, columns = np.nonzero(small)
    middle = (float(columns.mean()), float(rows.mean()))
    best, at = (-1.0, 0.0), 0.0
    reach = _MOST_DEGREES
    for step in _STEPS_DEGREES:
        for tilt in np.arange(at - reach, at + reach + step / 2, step):
            best, at = max((best, at), (_best_column(small, middle, float(tilt)), float(tilt)))
        reach = step
    overlap, column = best
    tilt = np.deg2rad(at)
    # from the upright image back to the given one
    off = (column - middle[0]) * np.array([np.cos(tilt), np.sin(tilt)])
    x, y = (np.array(middle) + off + 0.5) / np.array(size) * np.array(mask.shape[::-1]) - 0.5
    return MirrorAxis(float(y), float(x), at, overlap, row_size)


def _best_column(mask: npt.NDArray[np.float32], middle: tuple[float, float], tilt: float) -> tuple[float, float]:
    """Dice with the mirror image and column of the best upright axis, once a mask is turned back by a tilt."""
    height, width = mask.shape
    side = int(np.ceil(np.hypot(height, width))) + 2
    turn = cv2.getRotationMatrix2D(middle, tilt, 1.0)
    turn[:, 2] += (side / 2 - middle[0], side / 2 - middle[1])
    upright = cv2.warpAffine(mask, turn, (side, side))
    spectrum = np.fft.rfft(upright, 2 * side, axis=1)
    overlaps = np.fft.irfft((spectrum**2).sum(axis=0), 2 * side)
    place = int(overlaps.argmax())
    return float(overlaps[place] / (upright**2).sum()), place / 2 - side / 2 + middle[0]
