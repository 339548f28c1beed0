"""Bodies of DICOMweb are read and written as streams, wherever the network cuts them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from radseg.pipelines.io.pacs.multipart import CutOffError, FileAsMultipart, boundary_of, only_part

CONTENT = b"\r\n--\0DICM\r\n--other\r\n\r\n --sep--\r\r\n--se"


def _body(
    *contents: bytes, end: bytes = b"--\r\nepilogue", head: bytes = b"Content-Type: application/dicom\r\n"
) -> bytes:
    return b"".join(b"\r\n--sep\r\n" + head + b"\r\n" + one for one in contents) + b"\r\n--sep" + end


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("head", [b"", b"Content-Type: application/dicom\r\nContent-Length: 9\r\n"])
@pytest.mark.parametrize("preamble", [b"", b"ignored"])
def test_the_content_is_the_same_however_it_arrives(size: int, head: bytes, preamble: bytes) -> None:
    body = preamble + _body(CONTENT, head=head)
    assert b"".join(only_part(_pieces(body, size), b"sep")) == CONTENT
    assert b"".join(only_part(_pieces(body[2:] if not preamble else body, size), b"sep")) == CONTENT


def test_every_cut_is_noticed() -> None:
    body = _body(CONTENT, end=b"--")
    for length in range(len(body)):
        with pytest.raises(CutOffError):
            list(only_part([body[:length]], b"sep"))
    assert b"".join(only_part([body], b"sep")) == CONTENT


def test_two_parts_or_another_body_are_no_instance() -> None:
    with pytest.raises(CutOffError):
        list(only_part([_body(CONTENT, CONTENT)], b"sep"))
    with pytest.raises(CutOffError):
        list(only_part(iter([b"<html>" * (1 << 16)] * 20), b"sep"))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=ab-1', b"ab-1"),
        ('Multipart/Related; Boundary="a b"; type="application/dicom"', b"a b"),
        ("application/dicom", None),
        ("", None),
    ],
)
def test_the_boundary_is_found(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


def test_a_file_is_sent_as_one_part_that_is_never_whole_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT * 1000)
    with FileAsMultipart(file, "sent") as body:
        pieces = list(iter(lambda: body.read(100), b""))
        assert len(body) == sum(map(len, pieces))
    assert max(map(len, pieces)) == 100
    assert b"".join(only_part(pieces, b"sent")) == CONTENT * 1000
