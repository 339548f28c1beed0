"""PNG pictures of single slices: grey values in, masks in and out."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.volume import LPS_TO_RAS, Volume, first_line

_MOST_LABELS = 15
_BLACK_TO_WHITE_16_BIT = 257.0


def read_png(path: Path) -> Volume:
    """Read a picture as one axial slice in radiological convention, 1 mm pixels.

    Returns:
        array (column, row, 1), grey 0–255: columns run to the patient's left, rows to posterior, as in DICOM.

    Raises:
        InputError: damaged, not a PNG, or too large to be a radiograph or slice.
    """
    grey_ji = _grey(path)
    return Volume(np.ascontiguousarray(grey_ji).T[..., np.newaxis], LPS_TO_RAS.copy(), "grey")


def read_mask_png(path: Path) -> Volume:
    """Read a mask: black and white (0/255, 0/1 or grey edges, cut at half) becomes 0/1; few small integers stay labels.

    Raises:
        InputError: as `read_png`.
    """
    values = _grey(path, picture=False)
    present = np.unique(values)
    if present.max() > _MOST_LABELS:
        values = (values > present.max() / 2 if present.size <= 2 else values > 127).astype(np.float32)
    return Volume(np.ascontiguousarray(values).T[..., np.newaxis], LPS_TO_RAS.copy(), "label")


def write_mask_png(path: Path, mask_ij: npt.NDArray[Any]) -> None:
    """Write a mask as a picture of rows and columns: 0/255 when binary, else the labels themselves.

    Args:
        path: ends in .png.
        mask_ij: (column, row) or (column, row, 1), integers 0–255.

    Raises:
        ValueError: another shape, or values that 8 bits can't hold.
    """
    mask = np.asarray(mask_ij)
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    labels = mask.astype(np.uint8)
    if mask.ndim != 2 or not np.array_equal(labels, mask):
        raise ValueError(f"a PNG mask is one slice of integers from 0 to 255, not {np.asarray(mask_ij).shape}")
    pixels = labels * np.uint8(255) if labels.size and labels.max() <= 1 else labels
    Image.fromarray(np.ascontiguousarray(pixels.T)).save(path, format="PNG")


def _grey(path: Path, *, picture: bool = True) -> npt.NDArray[np.float32]:
    """One grey channel, (row, column): a picture's 16 bits are scaled to 0–255, a mask's palette keeps its indices."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                if image.mode.startswith("I"):
                    deep = np.asarray(image, dtype=np.float32)
                    return deep / np.float32(_BLACK_TO_WHITE_16_BIT) if picture or deep.max() > 255 else deep
                if image.mode == "1" and not picture:
                    return np.asarray(image, dtype=np.float32)
                if image.mode == "P" and not picture:
                    indices = np.asarray(image, dtype=np.float32)
                    if indices.max() <= _MOST_LABELS:
                        return indices
                return np.asarray(
                    image.convert("RGB" if image.mode == "P" else image.mode).convert("L"), dtype=np.float32
                )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: not readable as PNG ({first_line(error)}); save the picture again") from error
