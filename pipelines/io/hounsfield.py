"""Stored CT values to Hounsfield units: rescale, padding, and the rare inverted writer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io.dicom_header import numbers
from radseg.pipelines.io.functional_groups import frame_attribute

AIR_HU = -1024.0


@dataclass(frozen=True)
class Rescale:
    """HU = slope × stored + intercept (DICOM PS3.3 C.11.1, Modality LUT), with the stored values that mean "no data".

    Attributes:
        slope, intercept: RescaleSlope, RescaleIntercept.
        padding: lowest and highest stored padding value (PixelPaddingValue, PixelPaddingRangeLimit), or None.
        mirror: stored values are replaced by `mirror - stored` first; None where they are taken as they are.
    """

    slope: float = 1.0
    intercept: float = 0.0
    padding: tuple[int, int] | None = None
    mirror: int | None = None


def rescale_of(dataset: Any, frame: int | None = None) -> Rescale | str:
    """The rescale of a single-frame dataset, or of one frame of an enhanced one; or what is wrong with it."""
    if frame is None:
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    else:
        slope, intercept = (
            frame_attribute(dataset, frame, "PixelValueTransformationSequence", keyword)
            for keyword in ("RescaleSlope", "RescaleIntercept")
        )
    slopes, intercepts = numbers(slope, 1) or (1.0,), numbers(intercept, 1) or (0.0,)
    if slopes[0] == 0:
        return "RescaleSlope is 0; export the series again"
    return Rescale(slopes[0], intercepts[0], padding_range(dataset))


def to_hu(stored: npt.NDArray[Any], rescale: Rescale, out: npt.NDArray[np.float32]) -> int:
    """Write HU into `out` (same shape) and return how many voxels were padding (they become −1024 HU)."""
    out[...] = stored if rescale.mirror is None else rescale.mirror - stored.astype(np.int32)
    if rescale.slope != 1:
        out *= np.float32(rescale.slope)
    out += np.float32(rescale.intercept)
    if rescale.padding is None:
        return 0
    low, high = rescale.padding
    padded = (stored >= low) & (stored <= high)
    out[padded] = AIR_HU
    return int(np.count_nonzero(padded))


def mirror_of(dataset: Any, stored: npt.NDArray[Any], rescale: Rescale) -> int | None:
    """What inverted stored values are to be subtracted from, or None where they aren't inverted.

    MONOCHROME1 is about display only (PS3.3 C.7.6.3.1.2): a conforming CT gives HU by its rescale all the same. Some
    writers invert the stored values and leave the rescale as it was; then the air at the border of the image reads as
    dense as bone, and mirrored within the stored bits it reads as air.

    Args:
        dataset: for PhotometricInterpretation, BitsStored and PixelRepresentation.
        stored: one frame, (rows, columns).
        rescale: of that frame.
    """
    if dataset.get("PhotometricInterpretation") != "MONOCHROME1":
        return None
    levels = 1 << int(dataset.get("BitsStored") or 16)
    mirror = -1 if int(dataset.get("PixelRepresentation") or 0) else levels - 1
    border = float(np.median(np.concatenate([stored[0], stored[-1], stored[:, 0], stored[:, -1]])))
    as_is = rescale.slope * border + rescale.intercept
    mirrored = rescale.slope * (mirror - border) + rescale.intercept
    return mirror if as_is > 0 and mirrored < -500 else None


def padding_range(dataset: Any) -> tuple[int, int] | None:
    """Lowest and highest stored value that mean "no data" (PixelPaddingValue, PixelPaddingRangeLimit), or None."""
    value = numbers(dataset.get("PixelPaddingValue"), 1)
    if value is None:
        return None
    limit = numbers(dataset.get("PixelPaddingRangeLimit"), 1) or value
    low, high = sorted((int(value[0]), int(limit[0])))
    return low, high
