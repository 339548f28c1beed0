"""Stored pixels of a radiograph to the grey values that a viewer shows, 0 black to 255 white."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut

from radseg.pipelines.io.dicom.header import quiet_pydicom
from radseg.pipelines.io.dicom.hounsfield import padding_range
from radseg.pipelines.io.dicom.lookup_table import LookupTable, lookup_table
from radseg.pipelines.io.dicom.values import numbers

WHITE = 255.0
_STRETCH_PERCENTILES = (0.1, 99.9)
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_BT601 = (19595, 38470, 7471)  # 0.299, 0.587, 0.114 in 1/65536, rounded as Pillow does, so that JPEG and DICOM agree

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class VOIWindow:
    """A window on modality values (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Attributes:
        center, width: WindowCenter, WindowWidth.
        function: VOILUTFunction: LINEAR, LINEAR_EXACT or SIGMOID.
    """

    center: float
    width: float
    function: str = "LINEAR"

    def __call__(self, values: npt.NDArray[Any]) -> Grey:
        """Values to grey 0–255."""
        grey = values.astype(np.float32)
        if self.function == "SIGMOID":
            grey -= np.float32(self.center)
            grey *= np.float32(-4 / self.width)
            with np.errstate(over="ignore"):
                np.exp(grey, out=grey)
            grey += 1
            return np.divide(np.float32(WHITE), grey, out=grey)
        center, width = self.center, self.width
        if self.function == "LINEAR":
            center, width = center - 0.5, width - 1
        if width <= 0:  # LINEAR of width 1 is a threshold
            return np.where(grey > center, np.float32(WHITE), np.float32(0))
        grey -= np.float32(center - width / 2)
        grey *= np.float32(WHITE / width)
        return grey.clip(0, WHITE, out=grey)


def display_grey(stored: npt.NDArray[Any], dataset: Any) -> tuple[Grey, tuple[str, ...]]:
    """The standard's grayscale pipeline (PS3.4 N.2): modality LUT, VOI LUT or window, presentation LUT.

    Of several VOI LUTs or windows the first is taken, a LUT before a window. Where there is neither, eight stored bits
    are grey values already, and anything else is stretched between the 0.1 and 99.9 percentiles of the pixels, padding
    left out. MONOCHROME1, or PresentationLUTShape INVERSE, is inverted. Padding becomes black. Colours (RGB, YBR
    turned to RGB, palette) become grey by ITU-R BT.601, without window, which the standard defines for grey only.

    Args:
        stored: (row, column), or (row, column, 3) RGB.
        dataset: the pydicom dataset that they come from.

    Returns:
        (row, column), grey 0–255, and notes.

    Raises:
        ValueError: a RescaleSlope of 0, or a lookup table that can't be applied.
    """
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _luma(*_palette_rgb(stored, dataset)), ()
    bits = int(dataset.get("BitsStored") or dataset.get("BitsAllocated") or 8)
    if stored.ndim == 3:
        return _luma(stored, (1 << bits) - 1), ()
    notes: list[str] = []
    padding = padding_range(dataset)
    padded = None if padding is None else (stored >= padding[0]) & (stored <= padding[1])
    values = _modality_values(stored, dataset)
    grey = _by_lut_or_window(values, dataset, notes)
    if grey is not None and grey.min() == grey.max() and values.min() < values.max():
        notes.append("its window or VOI LUT leaves one grey value: left out")
        grey = None
    elif grey is None and bits == 8 and values.min() >= 0 and values.max() <= WHITE:
        grey = values.astype(np.float32)
    if grey is None:
        shown = values if padded is None or padded.all() else values[~padded]
        low, high = percentile_range(shown)
        notes.append(f"no window: {low:g} to {high:g} (0.1 to 99.9 percentile) shown as black to white")
        grey = stretched(values, low, high)
    inverse = dataset.get("PresentationLUTShape") == "INVERSE"
    if inverse or dataset.get("PhotometricInterpretation") == "MONOCHROME1":  # DX has both or none (C.8.11.3.1.2)
        np.subtract(np.float32(WHITE), grey, out=grey)
        if dataset.get("PhotometricInterpretation") != "MONOCHROME1":
            notes.append("MONOCHROME2 with PresentationLUTShape INVERSE: inverted")
    if padded is not None and padded.any():
        grey[padded] = 0
        notes.append(f"{np.count_nonzero(padded)} padding pixels set to black")
    return grey, tuple(notes)


def percentile_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles; lowest and highest value where those are equal."""
    low, high = (float(bound) for bound in np.percentile(values, _STRETCH_PERCENTILES))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def stretched(values: npt.NDArray[Any], low: float, high: float) -> Grey:
    """Values from low to high as grey 0–255, clipped; all black where low and high are one."""
    if low == high:
        return np.zeros(values.shape, np.float32)
    return VOIWindow((low + high) / 2, high - low, "LINEAR_EXACT")(values)


def _modality_values(stored: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    """Modality LUT (PS3.3 C.11.1): a table, or slope × stored + intercept; the stored values where there is none."""
    if dataset.get("ModalityLUTSequence"):
        return _table(dataset, dataset.ModalityLUTSequence[0], "Modality LUT")(stored)
    slope, intercept = (
        (numbers(dataset.get(keyword), 1) or (default,))[0]
        for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if slope == 0:
        raise ValueError("RescaleSlope is 0")
    if (slope, intercept) == (1.0, 0.0):
        return stored
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _by_lut_or_window(values: npt.NDArray[Any], dataset: Any, notes: list[str]) -> Grey | None:
    if dataset.get("VOILUTSequence"):
        lut = _table(dataset, dataset.VOILUTSequence[0], "VOI LUT")
        return lut(values).astype(np.float32) * np.float32(WHITE / lut.white)
    center, width = (_first_number(dataset.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in _FUNCTIONS:
        notes.append("VOILUTFunction isn't one that the standard knows: taken as LINEAR")
        function = "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        notes.append(f"WindowWidth {width:g} isn't allowed: left out")
        return None
    return VOIWindow(center, width, function)(values)


def _palette_rgb(stored: npt.NDArray[Any], dataset: Any) -> tuple[npt.NDArray[Any], int]:
    """Colours of palette indices, (row, column, 3), and the value of full light."""
    if "SegmentedRedPaletteColorLookupTableData" in dataset:
        try:
            with quiet_pydicom():
                rgb: npt.NDArray[Any] = apply_color_lut(stored, dataset)[..., :3]
        except Exception as error:  # pydicom raises whatever the malformed table makes it
            raise ValueError("its palette can't be applied") from error
        return rgb, (1 << 8 * rgb.dtype.itemsize) - 1
    keyword = "PaletteColorLookupTable"
    tables = [_table(dataset, dataset, "palette", f"{color}{keyword}") for color in ("Red", "Green", "Blue")]
    return np.stack([table(stored) for table in tables], axis=-1), tables[0].white


def _table(dataset: Any, item: Any, said: str, keyword: str = "LUT") -> LookupTable:
    little_endian = getattr(dataset, "original_encoding", (None, True))[1] is not False
    try:
        return lookup_table(item.get(f"{keyword}Descriptor"), item.get(f"{keyword}Data"), little_endian=little_endian)
    except (TypeError, ValueError) as error:
        raise ValueError(f"its {said} can't be applied ({error})") from error


def _luma(rgb: npt.NDArray[Any], white: int) -> Grey:
    """RGB to grey 0–255 by ITU-R BT.601, in whole levels of the input's depth."""
    levels = np.full(rgb.shape[:2], 1 << 15, np.uint64 if white > 255 else np.uint32)
    for channel, weight in enumerate(_BT601):
        levels += rgb[..., channel].astype(levels.dtype) * levels.dtype.type(weight)
    levels >>= levels.dtype.type(16)
    return levels.astype(np.float32) * np.float32(WHITE / white)


def _first_number(value: Any) -> float | None:
    found = numbers(value[0] if isinstance(value, MultiValue) and value else value, 1)
    return found[0] if found else None
