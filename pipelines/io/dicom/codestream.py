"""What a JPEG, JPEG-LS or JPEG 2000 codestream says of its own size, before a decoder written in C believes it."""

# Markers: ISO/IEC 10918-1 table B.1, 14495-1 annex C.1.1 (SOF55), 15444-1 annex A.
_JPEG_START, _JPEG_2000_START, _END = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd9"
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_MOST_SEGMENTS = 1000


def codestream_trouble(codestream: bytes, rows: int, columns: int, samples: int) -> str:
    """Why a frame's codestream can't be that of a whole image of this size; "" when it can, or is of another kind.

    A decoder takes memory for the size that the codestream claims, and several fill what is cut off with grey and say
    nothing.
    """
    size = None
    if codestream.startswith(_JPEG_2000_START):
        size = _jpeg_2000_size(codestream)
    elif codestream.startswith(_JPEG_START):
        size = _jpeg_size(codestream)
    else:
        return "no JPEG codestream"
    if size is None:
        return "its codestream has no size"
    if size != (rows, columns, samples):
        said = "×".join(str(length) for length in size)
        return f"its codestream holds {said} values where {rows}×{columns}×{samples} are stated"
    if not codestream[-64:].rstrip(b"\0\xff").endswith((_END, _END[1:])):
        return "its codestream is cut off"
    return ""


def _jpeg_size(codestream: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and samples in the frame header."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        while codestream[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        segment = codestream[at : at + 10]
        if len(segment) < 10 or segment[0] != 0xFF:
            return None
        if segment[1] in _FRAME_MARKERS:
            return int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[7:9], "big"), segment[9]
        at += 2 + int.from_bytes(segment[2:4], "big")
    return None


def _jpeg_2000_size(codestream: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components in the SIZ segment, whose lengths are Xsiz, Ysiz, XOsiz, YOsiz, ..., Csiz."""
    siz = codestream[8:42]
    if len(siz) < 34:
        return None
    right, bottom, left, top = (int.from_bytes(siz[start : start + 4], "big") for start in (0, 4, 8, 12))
    return bottom - top, right - left, int.from_bytes(siz[32:34], "big")
