"""Whether the pixel data of a DICOM file is there and whole, seen without reading the pixels."""

import io
from collections.abc import Mapping
from typing import BinaryIO

MOST_PIXELS_PER_BYTE = 1000
"""More than any compression of real images reaches."""

# The pixel elements (7FE0,0010), (7FE0,0009) and (7FE0,0008); "big" is the order of explicit VR big endian.
_KEYWORDS = {0x7FE00010: "PixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00008: "FloatPixelData"}
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_MOST_FRAGMENTS = 100_000
_MOST_FRAMES = 100_000


def claims_trouble(rows: int, columns: int, frames: int, size: int) -> str:
    """Why a file of that many bytes can't hold that many pixels; "" when it can."""
    if frames > min(size, _MOST_FRAMES) or rows * columns * frames > size * MOST_PIXELS_PER_BYTE:
        return f"{frames} frames of {rows}×{columns} pixels are claimed in {size} bytes"
    return ""


def pixel_element_trouble(
    stream: BinaryIO, encoding: tuple[bool, bool], image: Mapping[str, int], encapsulated: bool, end: int | None
) -> tuple[str, str]:
    """The keyword of the pixel element that a stream stands at, and what is wrong with it.

    Args:
        stream: where a parser stopped before the pixels.
        encoding: whether the data set is in implicit VR, and whether in little endian.
        image: "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel" and "BitsAllocated", 0 where unknown.
        encapsulated: whether the transfer syntax compresses the pixels.
        end: the stream's length where that is known without reading it.

    Returns:
        The keyword, "" when there is no pixel element; the trouble, "" when there is none.
    """
    implicit, little = encoding
    order = "little" if little else "big"
    element = stream.read(8)
    group, number = (int.from_bytes(element[start : start + 2], order) for start in (0, 2))  # type: ignore[arg-type]
    keyword = _KEYWORDS.get(group << 16 | number, "")
    if not keyword or len(element) < 8:
        return "", "no PixelData"
    # an image in implicit VR may have any length there, those that look like letters too
    explicit = not implicit and element[4:6] in _LONG_VRS
    length = int.from_bytes(stream.read(4) if explicit else element[4:8], order)  # type: ignore[arg-type]
    if length == _UNDEFINED:
        return keyword, "" if _fragments_end(stream, end) else f"{keyword} cut off"
    values = image["Rows"] * image["Columns"] * image["NumberOfFrames"]
    needed = values * image["SamplesPerPixel"] * image["BitsAllocated"] // 8
    too_long = length >= 2 * needed > 0 and length > needed + 1  # a NumberOfFrames or BitsAllocated that can't be right
    if image["SamplesPerPixel"] == 1 and not encapsulated and (length < needed or too_long):
        return keyword, f"{keyword} of {length} bytes where {needed} are needed"
    return keyword, "" if _skipped(stream, length, end) else f"{keyword} cut off"


def _fragments_end(stream: BinaryIO, end: int | None) -> bool:
    """Whether every fragment of encapsulated pixels (PS3.5 A.4) is there, up to the delimiter."""
    for _ in range(_MOST_FRAGMENTS):
        item = stream.read(8)
        if len(item) < 8:
            return False
        if item[:4] == _END:
            return True
        if item[:4] != _ITEM or not _skipped(stream, int.from_bytes(item[4:8], "little"), end):
            return False
    return True  # the decoder is to see


def _skipped(stream: BinaryIO, count: int, end: int | None) -> bool:
    """Go on by that many bytes, and whether they were there."""
    if end is None and count:
        stream.seek(count - 1, io.SEEK_CUR)
        return bool(stream.read(1))
    return end is None or stream.seek(count, io.SEEK_CUR) <= end
