"""Stored CT values to Hounsfield units: rescale, padding, and the rare inverted writer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io.dicom.functional_groups import frame_attribute
from radseg.pipelines.io.dicom.values import numbers
from radseg.pipelines.io.volume import Voxels

AIR_HU = -1024.0
_INT16 = np.iinfo(np.int16)
_MOST_SLOPE = 100
_MOST_INTERCEPT = 1 << 20
_MOST_RESCALE = 1e9
_WORD = 1 << 16


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
    trouble = _not_a_rescale(dataset)
    if trouble:
        return f"{trouble}; export the series again"
    found = []
    for keyword, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        try:
            value = (
                dataset.get(keyword)
                if frame is None
                else frame_attribute(dataset, frame, "PixelValueTransformationSequence", keyword)
            )
        except Exception:  # pydicom's, of whatever stands there instead of a number
            return f"{keyword} can't be read; export the series again"
        absent = value is None or value == ""
        number = (usual,) if absent else numbers(value, 1)
        if number is None or abs(number[0]) > _MOST_RESCALE:
            return f"{keyword} is {str(value)[:20]}; export the series again"
        found.append(number[0])
    slope, intercept = found
    if abs(slope) < 1 / _MOST_RESCALE:
        return f"RescaleSlope is {slope:g}; export the series again"
    return Rescale(slope, intercept, padding_range(dataset))


def _not_a_rescale(dataset: Any) -> str:
    """What stands between the stored values and a rescale; "" when nothing does."""
    try:
        if dataset.get("ModalityLUTSequence"):
            return "a table (ModalityLUTSequence) where a rescale to HU is expected"
        photometric = str(dataset.get("PhotometricInterpretation") or "")
    except Exception:
        return "ModalityLUTSequence or PhotometricInterpretation can't be read"
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return f"PhotometricInterpretation {photometric or 'is missing'}, expected MONOCHROME2"
    return ""


def to_hu(stored: npt.NDArray[Any], rescale: Rescale) -> tuple[Voxels, int]:
    """HU of one frame, and how many of its voxels were padding (they become −1024 HU).

    They are int16 where slope and intercept are whole numbers and int16 holds every value, else float32.
    """
    padded: npt.NDArray[np.bool_] | None = None
    if rescale.padding is not None:
        low, high = rescale.padding
        padded = (stored >= low) & (stored <= high)
    count = 0 if padded is None else int(np.count_nonzero(padded))
    whole = _whole_hu(stored, rescale, padded)
    if whole is not None:
        return whole, count
    hu = (stored if rescale.mirror is None else rescale.mirror - stored.astype(np.int32)).astype(np.float32)
    if rescale.slope != 1:
        hu *= np.float32(rescale.slope)
    hu += np.float32(rescale.intercept)
    if padded is not None:
        hu[padded] = AIR_HU
    return hu, count


def _whole_hu(
    stored: npt.NDArray[Any], rescale: Rescale, padded: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.int16] | None:
    """HU as int16, or None where it can't hold them."""
    slope, intercept = rescale.slope, rescale.intercept
    # so that no step leaves int32, nor a whole number that float32 can't hold
    small = stored.dtype.itemsize <= 2 and abs(slope) <= _MOST_SLOPE and abs(intercept) <= _MOST_INTERCEPT
    if not (small and slope.is_integer() and intercept.is_integer()):
        return None
    hu = stored.astype(np.int32)
    if rescale.mirror is not None:
        np.subtract(rescale.mirror, hu, out=hu)
    if slope != 1:
        hu *= int(slope)
    hu += int(intercept)
    if padded is not None:
        hu[padded] = int(AIR_HU)
    if hu.min() < _INT16.min or hu.max() > _INT16.max:
        return None
    return hu.astype(np.int16)


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
    mirror = -1 if int(dataset.get("PixelRepresentation") or 0) else (1 << int(dataset.get("BitsStored") or 16)) - 1
    border = float(np.median(np.concatenate([stored[0], stored[-1], stored[:, 0], stored[:, -1]])))
    as_is = rescale.slope * border + rescale.intercept
    mirrored = rescale.slope * (mirror - border) + rescale.intercept
    return mirror if as_is > 0 and mirrored < -500 else None


def padding_range(dataset: Any) -> tuple[int, int] | None:
    """Lowest and highest stored value that mean "no data" (PixelPaddingValue, PixelPaddingRangeLimit), or None.

    Both are 16-bit words whose sign some writers get wrong: 63536 in a signed image is −2000.
    """
    value, limit = (_padding_word(dataset, keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if value is None:
        return None
    return min(value, value if limit is None else limit), max(value, value if limit is None else limit)


def _padding_word(dataset: Any, keyword: str) -> int | None:
    try:
        found = numbers(dataset.get(keyword), 1)
        signed = bool(dataset.get("PixelRepresentation"))
    except Exception:  # pydicom's, of whatever stands there instead of a number
        return None
    if found is None or not -_WORD // 2 <= found[0] < _WORD:
        return None
    word = int(found[0]) % _WORD
    return word - _WORD if signed and word >= _WORD // 2 else word
