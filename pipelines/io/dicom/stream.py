"""The bytes of a DICOM file as a parser wants them: a deflated file inflates while it is read, up to a limit."""

import io
import zlib
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

_CHUNK = 1 << 18
# No image of this kind deflates better than 64:1 but a small, nearly empty one; deflate alone goes up to 1,032:1.
_MOST_INFLATED = 1 << 27
_MOST_RATIO = 64
_MOST_META = 1 << 20
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


def dicom_stream(file: BinaryIO) -> BinaryIO:
    """The file itself or, of a deflated one (PS3.5 A.5), what it was before, in explicit VR little endian.

    Args:
        file: open at its start.

    Returns:
        A stream at its start. Reading a deflated one raises ValueError beyond 128 MiB + 64 times the file's size, and
        where the deflated bytes are damaged; cut off, they just end.
    """
    meta = _meta_of(file)
    if meta is None:
        file.seek(0)
        return file
    size = file.seek(0, io.SEEK_END)
    file.seek(meta[1])
    return io.BufferedReader(_Inflating(file, meta[0], _MOST_INFLATED + _MOST_RATIO * size))


def _meta_of(file: BinaryIO) -> tuple[bytes, int] | None:
    """File meta information rewritten for the inflated data set, and where the deflated one starts; None if none is."""
    if file.read(132)[128:] != b"DICM":
        return None
    kept, deflated = [], False
    while file.tell() < _MOST_META:
        start = file.read(8)
        if len(start) < 8 or start[:2] != b"\2\0":
            file.seek(-len(start), io.SEEK_CUR)
            break
        is_long = start[4:6] in _LONG_VRS
        more = file.read(4) if is_long else b""
        length = int.from_bytes(more if is_long else start[6:8], "little")
        if length > _MOST_META:
            break
        value = file.read(length)
        if start[2:4] == b"\x10\0":
            deflated = value.rstrip(b"\0 ") == DeflatedExplicitVRLittleEndian.encode()
        elif start[2:4] != b"\0\0":  # the group's length isn't what it was
            kept.append(start + more + value)
    if not deflated:
        return None
    syntax = ExplicitVRLittleEndian.encode() + b"\0"
    kept.append(b"\2\0\x10\0UI" + len(syntax).to_bytes(2, "little") + syntax)
    return bytes(128) + b"DICM" + b"".join(kept), file.tell()


class _Inflating(io.RawIOBase):
    """`head`, then the inflated rest of a file; it keeps what was inflated so that a reader can step back."""

    def __init__(self, file: BinaryIO, head: bytes, most: int) -> None:
        self.file = file
        self.name = file.name  # pydicom asks
        self.most = most
        self.inflated = bytearray(head)
        self.at = 0
        self.ended = False
        self.inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END:
            self._reach(self.most + 1)
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: len(self.inflated)}[whence]
        return self.at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        self._reach(self.at + len(buffer))
        part = self.inflated[self.at : self.at + len(buffer)]
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)

    def _reach(self, place: int) -> None:
        """Inflate as far as that place or the end."""
        while len(self.inflated) < place and not self.ended:
            compressed = self.inflate.unconsumed_tail or self.file.read(_CHUNK)
            try:
                more = self.inflate.decompress(compressed, _CHUNK)
            except zlib.error as error:
                raise ValueError("its deflated data set is damaged") from error
            self.inflated += more
            if len(self.inflated) > self.most:
                raise ValueError(f"it inflates to more than {self.most >> 20} MiB")
            self.ended = self.inflate.eof or not (compressed or more)
