"""The five lobes of the lungs, from a label image."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.transforms.slabs import count_labels, count_planes

LOBES = ("left upper lobe", "left lower lobe", "right upper lobe", "right middle lobe", "right lower lobe")
"""In the order of both published numberings."""

LEFT_LOBES, RIGHT_LOBES = (1, 2), (3, 4, 5)

TOTALSEGMENTATOR = (10, 11, 12, 13, 14)
"""Values in TotalSegmentator's task `total` (version 2)."""

LUNGMASK = (1, 2, 3, 4, 5)
"""Values of lungmask's LTRCLobes (Hofmanninger et al., Eur Radiol Exp 2020)."""


def five_lobes(
    labels: npt.NDArray[np.uint8], affine_ras: npt.NDArray[np.float64], values: Sequence[int] | None = None
) -> npt.NDArray[np.uint8]:
    """A map of the lobes: 1–5 in the order of `LOBES`, 0 elsewhere.

    Args:
        labels: (i, j, k); what has none of the lobes' values counts for nothing.
        affine_ras: 4×4, voxel index → RAS in mm.
        values: of the lobes in the order of `LOBES`. Without them TotalSegmentator's are looked for first, then
            lungmask's.

    Raises:
        InputError: no lobe has a voxel, or the left lobes lie to the right of the right ones.
    """
    counts = count_labels(labels, 255)
    known = [tuple(values)] if values is not None else [TOTALSEGMENTATOR, LUNGMASK]
    chosen = next((one for one in known if any(counts[value] for value in one)), None)
    if chosen is None:
        wanted = " or ".join(", ".join(map(str, one)) for one in known)
        raise InputError(f"the lobe mask holds none of the values {wanted}; give a mask of lobes")
    table = np.zeros(256, np.uint8)
    table[list(chosen)] = np.arange(1, len(LOBES) + 1)
    lobes = table[labels]
    right, left = (_place(np.isin(lobes, side), affine_ras) for side in (RIGHT_LOBES, LEFT_LOBES))
    if right is not None and left is not None and right < left:
        raise InputError(
            f"the lobe mask's left lobes ({chosen[0]}, {chosen[1]}) lie on the patient's right; "
            "give a mask with TotalSegmentator's or lungmask's values"
        )
    return lobes


def _place(mask: npt.NDArray[np.bool_], affine_ras: npt.NDArray[np.float64]) -> float | None:
    """How far to the patient's right a mask's centre lies in mm; None when it is empty."""
    planes = count_planes(mask)
    if not planes[0].any():
        return None
    centre = np.array([np.average(np.arange(len(counts)), weights=counts) for counts in planes])
    return float(affine_ras[0, :3] @ centre + affine_ras[0, 3])
