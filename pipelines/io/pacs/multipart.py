"""Multipart bodies of DICOMweb (RFC 2387), read and written as streams, so that no instance has to fit in memory."""

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_LONGEST_START = 1 << 16


class CutOffError(Exception):
    """A body ended before its closing boundary, or isn't multipart at all."""


def boundary_of(content_type: str) -> bytes | None:
    """The boundary in a Content-Type; None when the body isn't multipart."""
    if not content_type.lower().startswith("multipart/"):
        return None
    match = re.search(r'boundary="?([^";,]+)"?', content_type, re.IGNORECASE)
    return match[1].strip().encode("latin-1") if match else None


def only_part(chunks: Iterable[bytes], boundary: bytes) -> Iterator[bytes]:
    """The content of the first part of a multipart body, which must be the only one, in pieces.

    Raises:
        CutOffError: the body ends without its closing boundary, or has other parts.
    """
    stream = iter(chunks)
    mark = b"--" + boundary
    # the first boundary needs no line break before it; header lines end with an empty one
    data = b"\r\n"
    start = re.compile(rb"\r\n" + re.escape(mark) + rb"[ \t]*\r\n(?:[^\r\n]+\r\n)*\r\n")
    while (head := start.search(data)) is None:
        if len(data) > _LONGEST_START:
            raise CutOffError
        data += _next(stream)
    data = data[head.end() :]
    end = b"\r\n" + mark
    while (where := data.find(end)) < 0:
        keep = len(end) - 1
        if len(data) > keep:
            yield data[:-keep]
            data = data[-keep:]
        data += _next(stream)
    yield data[:where]
    data = data[where + len(end) :]
    while len(data) < 2:
        data += _next(stream)
    if not data.startswith(b"--"):
        raise CutOffError
    for _ in stream:  # to its end, so that the connection can be used again
        pass


class FileAsMultipart:
    """A DICOM file as a multipart body of one part, read as it is sent; a context that closes the file.

    Args:
        file: the DICOM file.
        boundary: that doesn't occur in it, such as a random one.

    Raises:
        OSError: the file can't be read.
    """

    def __init__(self, file: Path, boundary: str) -> None:
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        self._streams = [io.BytesIO(head), file.open("rb"), io.BytesIO(tail)]
        self._size = len(head) + file.stat().st_size + len(tail)

    def __len__(self) -> int:
        """Of the whole body in bytes, which is sent as Content-Length."""
        return self._size

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes; b"" at the end."""
        while self._streams:
            if data := self._streams[0].read(size):
                return data
            self._streams.pop(0).close()
        return b""

    def __enter__(self) -> "FileAsMultipart":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams:
            stream.close()


def _next(stream: Iterator[bytes]) -> bytes:
    for chunk in stream:
        if chunk:
            return chunk
    raise CutOffError
