"""Whether voxels that are said to be right with 90 % certainty are right nine times in ten."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass
class Reliability:
    """Voxels by the confidence in their label: how many, how confident in all, how many right.

    Attributes:
        bins: number of bins of equal width that 0…1 is cut into; 1 belongs to the last.
        counts, confidences, right: of each bin the number of voxels, the sum of their confidences, and how many of
            them have the true label.
    """

    bins: int = BINS
    counts: npt.NDArray[np.int64] = field(init=False)
    confidences: npt.NDArray[np.float64] = field(init=False)
    right: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.bins, np.int64)
        self.confidences = np.zeros(self.bins, np.float64)
        self.right = np.zeros(self.bins, np.int64)

    def add(self, confidence: npt.NDArray[Any], right: npt.NDArray[np.bool_]) -> None:
        """Counts voxels.

        Args:
            confidence: in the label that each voxel was given, 0…1.
            right: whether that is the true one; the same shape.
        """
        of = np.minimum((confidence * self.bins).astype(np.intp), self.bins - 1).ravel()
        self.counts += np.bincount(of, minlength=self.bins)
        self.confidences += np.bincount(of, confidence.ravel(), self.bins)
        self.right += np.bincount(of[right.ravel()], minlength=self.bins)

    @property
    def voxels(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    @property
    def expected_calibration_error(self) -> float | None:
        """Mean over bins of |share that is right − mean confidence|, weighted by voxels; None without any.

        Naeini et al., AAAI 2015; Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3, whose 15
        bins are the default here.
        """
        if not self.voxels:
            return None
        return float(np.abs(self.right - self.confidences).sum() / self.voxels)

    def diagram(self) -> list[dict[str, float | int]]:
        """The bins that hold voxels, as a reliability diagram shows them."""
        return [
            {"voxels": int(n), "confidence": round(float(total / n), 6), "right": round(float(right / n), 6)}
            for n, total, right in zip(self.counts, self.confidences, self.right, strict=True)
            if n
        ]
