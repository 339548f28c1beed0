"""A radiograph's mask as it is displayed, whatever way it is stored."""

from typing import Any

import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume


def displayed(mask: npt.NDArray[Any], volume: Volume, case: str) -> npt.NDArray[Any]:
    """The mask as (row, column), rows to the feet and columns to the patient's left, as a frontal view is displayed.

    Args:
        mask: (i, j, 1).
        volume: the image on whose grid it lies. Its affine says which way i and j run, as that of a picture does:
            columns to the patient's left, rows to "posterior".
        case: name of the case, for messages.

    Raises:
        InputError: more than one slice.
    """
    if mask.shape[2] != 1:
        raise InputError(f"{case}: {mask.shape[2]} slices, a radiograph has one; give a frontal X-ray's mask")
    flat = mask[:, :, 0].T
    affine = volume.affine_ras
    return flat[:: -1 if affine[1, 1] > 0 else 1, :: -1 if affine[0, 0] > 0 else 1]


def pixel_cm2(volume: Volume) -> float | None:
    """Area of a pixel in cm², None where nobody says how large it is."""
    columns_mm, rows_mm, _ = volume.spacing_mm
    return columns_mm * rows_mm / 100 if volume.spacing_known else None
