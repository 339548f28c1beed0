"""PNG and JPEG pictures: radiographs and single slices as grey values in, masks in and out."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL.Image import Image, fromarray
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.volume import LPS_TO_RAS, Volume, first_line, too_many_pixels

_MOST_LABELS = 15
_BLACK_TO_WHITE_16_BIT = 257.0
_EXIF_ORIENTATION = 0x0112
_PNG_START, _JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

# What may lie between black and white in a binary mask. Lung outlines reduced to 256×256 with smooth edges have up to
# 3.4 % such pixels; in a JPEG of quality 50 only 0.1 % are further than 31 from black and white.
_MOST_EDGE = 0.05
_REACH_PIXELS, _JPEG_REACH_PIXELS = 2, 8  # a smooth edge; a JPEG's block
_AT_EDGE = 0.9
_JPEG_SLACK = 31


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Values (row, column), 8 or 16 bits deep, upright as EXIF says, and whether JPEG has blurred them."""

    values_ji: npt.NDArray[Any]
    lossy: bool
    notes: tuple[str, ...]


def read_picture(path: Path) -> Volume:
    """Read a PNG or JPEG, whatever its name says, as one image in radiological convention, 1 mm pixels.

    Colours (RGB, palette, CMYK) become grey by ITU-R BT.601; 16 bits a channel are scaled, of 16-bit colours the upper
    8 bits are used. Transparency is ignored, so a transparent pixel has the colour that is stored under it. The
    orientation in a picture's EXIF is honoured: the rows and columns are those that a viewer shows.

    Returns:
        array (column, row, 1), grey 0–255. The axes are those of the picture: columns run to the patient's left, rows
        to "posterior", as in an axial DICOM slice; a radiograph's rows run to the feet, but it is kept the same way.

    Raises:
        InputError: damaged, neither PNG nor JPEG, transparent everywhere, or more than 100 megapixels (said by the
            header, before anything is decoded).
    """
    pixels = _read(path, mask=False)
    grey_ji = pixels.values_ji.astype(np.float32)
    if pixels.values_ji.dtype == np.uint16:
        grey_ji /= np.float32(_BLACK_TO_WHITE_16_BIT)
    return _volume(grey_ji, "grey", pixels.notes)


def read_mask_picture(path: Path) -> Volume:
    """Read a mask: 0/1, black and white, or labels up to 15 (grey values or palette indices).

    Where black meets white there may be values between (smooth edges) on up to 5 % of the pixels: they are cut at half
    and noted. A JPEG can hold black and white only; its values within 31 of either count as that.

    Raises:
        InputError: as `read_picture`, or the values are no mask: other greys, colours, a drawing in the transparency.
    """
    pixels = _read(path, mask=True)
    labels, notes = _as_labels(pixels, path)
    return _volume(labels.astype(np.float32), "label", (*pixels.notes, *notes))


def check_picture(path: Path) -> None:
    """Look at the header and a PNG's checksums, without decoding anything.

    Raises:
        InputError: neither PNG nor JPEG, a damaged header, wrong checksums, or more than 100 megapixels.
    """
    with _checked(path):
        pass


def write_mask_png(path: Path, mask_ij: npt.NDArray[Any]) -> None:
    """Write a mask as a picture of rows and columns: 0/255 when binary, else the labels themselves.

    Args:
        path: ends in .png.
        mask_ij: (column, row) or (column, row, 1), integers 0–255.

    Raises:
        ValueError: another shape, or values that 8 bits can't hold.
    """
    labels = _one_slice(mask_ij)
    _save(path, labels * np.uint8(255) if labels.size and labels.max() <= 1 else labels)


def write_map_png(path: Path, values_ij: npt.NDArray[np.uint8]) -> None:
    """Write a map, such as how uncertain each pixel is, as a grey picture of its values.

    Args:
        path: ends in .png.
        values_ij: (column, row) or (column, row, 1), integers 0–255.

    Raises:
        ValueError: another shape, or values that 8 bits can't hold.
    """
    _save(path, _one_slice(values_ij))


def _one_slice(values_ij: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    values = np.asarray(values_ij)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    whole = values.astype(np.uint8)
    if values.ndim != 2 or not np.array_equal(whole, values):
        raise ValueError(f"a PNG is one slice of integers from 0 to 255, not {np.asarray(values_ij).shape}")
    return whole


def _save(path: Path, pixels_ij: npt.NDArray[np.uint8]) -> None:
    fromarray(np.ascontiguousarray(pixels_ij.T)).save(path, format="PNG")


def _volume(values_ji: npt.NDArray[np.float32], units: str, notes: tuple[str, ...]) -> Volume:
    array = np.ascontiguousarray(values_ji).T[..., np.newaxis]
    return Volume(array, LPS_TO_RAS.copy(), units, notes, spacing_known=False, is_picture=True)


def _read(path: Path, *, mask: bool) -> _Pixels:
    with _checked(path) as image:
        lossy = isinstance(image, JpegImageFile)
        notes = _transparency_notes(image, path)
        values_ji = _mask_values(image, path, lossy) if mask else _grey(image)
        orientation = _orientation(image)
    if orientation != 1:
        notes += ("turned upright as its EXIF orientation says",)
    return _Pixels(_upright(values_ji, orientation), lossy, notes)


@contextmanager
def _checked(path: Path) -> Iterator[ImageFile]:
    """The picture, not decoded yet, its size and a PNG's checksums looked at; what goes wrong is an `InputError`."""
    try:
        with warnings.catch_warnings(action="ignore"), _opened(path) as image:  # Pillow's, of damaged metadata
            trouble = too_many_pixels(*image.size)
            if trouble:
                raise InputError(f"{path}: {trouble}")
            if not isinstance(image, JpegImageFile):
                with PngImageFile(path) as again:
                    again.verify()  # its checksums, which decoding doesn't look at
            yield image
    except InputError:
        raise
    except Exception as error:  # Pillow has no single error for a damaged file
        raise InputError(
            f"{path}: not readable as PNG or JPEG ({first_line(error)}); save the picture again"
        ) from error


def _opened(path: Path) -> ImageFile:
    """The picture with its header read. `PIL.Image.open` would warn or raise of its own about large ones."""
    with path.open("rb") as file:
        start = file.read(8)
    if start == _PNG_START:
        return PngImageFile(path)
    if start.startswith(_JPEG_START):
        return JpegImageFile(path)
    raise InputError(f"{path}: not readable as PNG or JPEG, whatever its name says; save the picture again")


def _grey(image: Image) -> npt.NDArray[Any]:
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    colour = image.convert("RGBA") if image.mode == "P" else image.convert("RGB") if image.mode == "CMYK" else image
    return np.asarray(colour.convert("L"))


def _mask_values(image: Image, path: Path, lossy: bool) -> npt.NDArray[Any]:
    """One value a pixel: 0/1 of a bitmap, palette indices where they are labels, the grey of equal channels."""
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode == "P":
        indices = np.asarray(image)
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        black_and_white = np.isin(palette, (0, 255)).all() and (np.ptp(palette, axis=1) == 0).all()
        if indices.max() <= _MOST_LABELS and not black_and_white:
            return indices
        image = image.convert("RGBA")
    if image.mode in ("RGB", "RGBA", "CMYK"):
        channels = np.asarray(image.convert("RGB"))
        apart = max(int(cv2.absdiff(channels[..., 0], channels[..., other]).max()) for other in (1, 2))
        if apart > (8 if lossy else 0):
            raise InputError(f"{path}: a colour picture, not a mask; save the mask as grey 0/255 or as labels up to 15")
    return _grey(image)


def _transparency_notes(image: Image, path: Path) -> tuple[str, ...]:
    """What is to be said about transparency, which is otherwise ignored.

    Raises:
        InputError: nothing of the picture is to be seen, or it is one colour drawn by transparency alone.
    """
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    if image.mode not in ("LA", "RGBA", "PA"):
        return ()
    alpha_low, alpha_high = image.getchannel("A").getextrema()
    if alpha_high == 0:
        raise InputError(f"{path}: every pixel is transparent; save the picture without transparency")
    if alpha_low == 255:
        return ()
    grey_low, grey_high = image.convert("L").getextrema()
    if grey_low == grey_high:
        raise InputError(f"{path}: drawn by transparency alone, in one colour; save it as grey without transparency")
    return ("transparency ignored",)


def _orientation(image: Image) -> int:
    """EXIF's Orientation, 1 (as stored) to 8; 1 where the EXIF data can't be read."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF data raise anything, and the picture is still a picture
        return 1
    return orientation if orientation in range(1, 9) else 1


def _upright(stored_ji: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn and mirror as CIPA DC-008 (EXIF), Orientation, says."""
    turned = np.rot90(stored_ji, {3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}.get(orientation, 0))
    return turned[:, ::-1] if orientation in (2, 4, 5, 7) else turned


def _as_labels(pixels: _Pixels, path: Path) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    values = pixels.values_ji
    counts = _histogram(values)
    present = np.flatnonzero(counts)
    highest = int(present[-1])
    if highest == 0 or (highest <= _MOST_LABELS and not pixels.lossy):
        return values, ()
    white = 255 if highest <= 255 else 65535
    slack = _JPEG_SLACK if pixels.lossy else 0
    between = int(counts[slack + 1 : white - slack].sum())
    if not counts[white - slack :].any() or between > _MOST_EDGE * values.size:
        raise InputError(_no_mask(path, present, pixels.lossy))
    if between and not _at_edges(values, slack, white - slack, _JPEG_REACH_PIXELS if pixels.lossy else _REACH_PIXELS):
        raise InputError(_no_mask(path, present, pixels.lossy))
    note = f"{between} values between black and white ({between / values.size:.2%}) cut at half"
    return values > white / 2, (note,) if between else ()


def _at_edges(values: npt.NDArray[Any], black: int, white: int, reach: int) -> bool:
    """Whether the values between black and white lie where black meets white, so that they are no third label."""
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    near_black, near_white = (cv2.dilate(end.view(np.uint8), kernel) for end in (values <= black, values >= white))
    between = (values > black) & (values < white)
    at_edge = np.count_nonzero(between & (near_black & near_white).view(np.bool_))
    return bool(at_edge >= _AT_EDGE * np.count_nonzero(between))


def _no_mask(path: Path, present: npt.NDArray[Any], lossy: bool) -> str:
    few = ", ".join(str(value) for value in present[:5])
    listed = few if present.size <= 5 else f"{few} … {present[-1]} ({present.size} values)"
    allowed = "black and white (all that a JPEG can hold)" if lossy else "0/1, 0/255 or labels up to 15"
    return f"{path}: the mask holds {listed}, where {allowed} is wanted; threshold or relabel it and save it as PNG"


def _histogram(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How often each value occurs; in bands of rows, because counting takes eight bytes a pixel."""
    levels = 65536 if values.dtype == np.uint16 else 256
    counts = np.zeros(levels, np.int64)
    for top in range(0, len(values), 512):
        counts += np.bincount(values[top : top + 512].ravel(), minlength=levels)
    return counts
