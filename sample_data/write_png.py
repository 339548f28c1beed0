"""Write an 8-bit grey PNG with nothing in it but the pixels."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write rows × columns of grey values as a PNG (ISO/IEC 15948, 8 bits, colour type 0).

    Args:
        path: The file; its folder is made.
        pixels: Grey values, rows from top to bottom.
    """
    rows, columns = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    unfiltered = np.zeros((rows, columns + 1), dtype=np.uint8)
    unfiltered[:, 1:] = pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(unfiltered.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )
