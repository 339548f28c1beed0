"""What is read of a DICOMweb server's answer: none that leads elsewhere, is compressed unasked or doesn't end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.pacs.dicomweb_session import timeouts
from radseg.pipelines.io.pacs.dicomweb_url import origin_of

MAX_INSTANCE_BYTES = 4 << 30
MAX_CONTENT_BYTES = 64 << 20
"""Of the answer to a search or to storing, which has to fit in memory."""

_CHUNK = 1 << 20


@contextmanager
def answer_to(
    session: Any, where: str, method: str, address: str, headers: Mapping[str, str], body: Any = None
) -> Iterator[Any]:
    """The answer to a request, whatever its status, with its content not read yet.

    Args:
        session: of `open_session`.
        where: the server as it is told to users; every message begins with it.
        method, address, headers, body: the request.

    Raises:
        InputError: it sends elsewhere (what was asked may name a patient, and isn't told to another server), or is
            compressed although that wasn't asked for (a little may expand to more than memory holds).
    """
    with session.request(
        method, address, headers=headers, data=body, timeout=timeouts(), stream=True, allow_redirects=False
    ) as answer:
        if 300 <= answer.status_code < 400:
            other = origin_of(answer.headers.get("Location", ""))
            to = f" to {other}" if other not in ("", origin_of(address)) else ""
            raise InputError(f"{where}: the server sends elsewhere{to} (HTTP {answer.status_code}); give that address")
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise InputError(f"{where}: the server compresses answers unasked; switch that off there")
        yield answer


def instance_in(answer: Any, where: str) -> Iterator[bytes]:
    """The content of an answer that holds an instance, in pieces.

    Raises:
        InputError: it is longer than any image.
    """
    yield from _up_to(MAX_INSTANCE_BYTES, answer, f"{where}: an instance is longer than", "look at it there")


def content_of(answer: Any, where: str) -> bytes:
    """The content of an answer to a search or to storing.

    Raises:
        InputError: it is too long for memory.
    """
    return b"".join(_up_to(MAX_CONTENT_BYTES, answer, f"{where}: an answer is longer than", "narrow the query"))


def _up_to(most: int, answer: Any, trouble: str, remedy: str) -> Iterator[bytes]:
    length = 0
    for piece in answer.iter_content(_CHUNK):
        length += len(piece)
        if length > most:
            raise InputError(f"{trouble} {most >> 20} MiB; {remedy}")
        yield piece
