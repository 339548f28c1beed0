"""An image as the checks look at it: coarsely, and each view of it made once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from radseg.pipelines.engine.locate import BodyFinder, Found
from radseg.pipelines.engine.locate.coarse import Coarse, coarse
from radseg.pipelines.io import Volume

_CELL_MM = 4.0
_LEAST_CELLS = 32  # along the longest side: a specimen has fewer at 4 mm
_SIDE = 64


@dataclass(frozen=True)
class Seen:
    """An image before the network.

    Attributes:
        volume: the image as it was read.
        files: what it was read from.
    """

    volume: Volume
    files: Sequence[Path] = ()

    @cached_property
    def scan(self) -> Coarse | None:
        """A CT at 4 mm, finer if it is small; None of what isn't one in HU, or of unknown spacing."""
        volume = self.volume
        if volume.units != "HU" or volume.is_picture or not volume.spacing_known:
            return None
        longest_mm = max(size * count for size, count in zip(volume.spacing_mm, volume.array.shape, strict=True))
        return coarse(volume, min(_CELL_MM, longest_mm / _LEAST_CELLS))

    @cached_property
    def body(self) -> Found | None:
        """Where the patient is in a CT, everything inside included; None of what isn't one."""
        return None if self.scan is None else BodyFinder(_CELL_MM, margin_mm=0.0).find(self.scan)

    @cached_property
    def picture(self) -> npt.NDArray[np.uint8] | None:
        """A picture or radiograph at 64 × 64, as displayed (row, column), from its darkest 0 to its brightest 255."""
        if not self.volume.is_picture:
            return None
        rows = np.asarray(self.volume.array[..., 0].T, np.float32)
        small = cv2.resize(np.ascontiguousarray(rows), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        low, high = float(small.min()), float(small.max())
        return np.asarray((small - low) * (255 / max(high - low, 1e-6)), np.uint8)
