"""The lung fields of a frontal chest radiograph: how large, and how they share between left and right."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.pipelines.io import Volume
from radseg.pipelines.measure.volumes import LabelVolumes

_SMALLEST_LUNG = 0.1  # share of both fields; a smaller piece is a speck, not a lung


class LungFields:
    """Areas as `LabelVolumes`, and the share of each lung in both fields together (their overlap with nothing counted).

    The two largest pieces of the mask are the lungs; the one further to the patient's right is the right one, and every
    smaller piece belongs to the nearer of the two. Left and right are those of the image as a frontal radiograph is
    displayed, patient's right at the left, unless the DICOM header says that it is mirrored. With fewer than two pieces
    of at least a tenth of the whole, one lung may be missing or both may touch: then no share is given, but a warning.

    Args:
        labels: names of the labels; all of them together are the lungs.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.areas = LabelVolumes(labels)

    def __call__(self, mask: npt.NDArray[np.uint8], volume: Volume, case: str) -> dict[str, Any]:
        """Statistics of one mask; the arguments are those of `LabelVolumes`."""
        statistics = self.areas(mask, volume, case)
        share = _share_of_right(mask > 0, volume.affine_ras)
        if share is None:
            warning = "left and right lung can't be told apart: the mask hasn't two pieces of comparable size"
            return {**statistics, "warnings": [warning]}
        lungs = {"right": {"share_of_lungs": round(share, 4)}, "left": {"share_of_lungs": round(1 - share, 4)}}
        return {**statistics, "lungs": lungs}


def _share_of_right(lungs: npt.NDArray[np.bool_], affine_ras: npt.NDArray[np.float64]) -> float | None:
    """Pixels of the right lung over all lung pixels, or None when there aren't two lungs."""
    pieces, count = ndimage.label(lungs, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    if count < 2 or np.sort(sizes)[-2] < _SMALLEST_LUNG * sizes.sum():
        return None
    centres = np.array(ndimage.center_of_mass(lungs, pieces, range(1, count + 1)))
    to_right = centres @ affine_ras[0, :3]  # mm towards the patient's right, from the affine's first row
    one, other = np.argsort(-sizes, kind="stable")[:2]
    right, left = (one, other) if to_right[one] > to_right[other] else (other, one)
    of_right = np.abs(to_right - to_right[right]) < np.abs(to_right - to_right[left])
    return float(sizes[of_right].sum() / sizes.sum())
