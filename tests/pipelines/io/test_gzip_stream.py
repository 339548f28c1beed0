"""Packed files are those of the standard library, and what is wrong with one is said."""

import gzip

import numpy as np
import pytest

from radseg.pipelines.io.gzip_stream import DeflateError, gzip_reader, gzip_writer, is_gzip

CONTENT = np.random.default_rng(0).integers(0, 9, 300_000).astype(np.uint8).tobytes()


def packed(content=CONTENT):
    return gzip.compress(content)


def written(path, content):
    with path.open("wb") as file, gzip_writer(file) as stream:
        for start in range(0, len(content), 70_000):
            stream.write(content[start : start + 70_000])
    return path


def test_what_is_written_the_standard_library_reads_and_the_other_way_round(tmp_path):
    assert gzip.decompress(written(tmp_path / "a.gz", CONTENT).read_bytes()) == CONTENT
    (tmp_path / "b.gz").write_bytes(packed())
    with gzip_reader(tmp_path / "b.gz") as file:
        assert file.read() == CONTENT


def test_the_bytes_tell_neither_name_nor_time(tmp_path):
    one, other = written(tmp_path / "patient.gz", CONTENT), written(tmp_path / "b.gz", CONTENT)
    assert one.read_bytes() == other.read_bytes()
    assert b"patient" not in one.read_bytes()
    assert one.read_bytes()[4:8] == bytes(4)


def test_several_members_and_padding_are_read_as_one(tmp_path):
    (tmp_path / "a.gz").write_bytes(packed() + packed(b"more") + bytes(20))
    with gzip_reader(tmp_path / "a.gz") as file:
        assert file.read() == CONTENT + b"more"


def _changed(data, place):
    changed = bytearray(data)
    changed[place] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "raised"),
    [
        (packed()[:-20], EOFError),
        (packed()[:-3], EOFError),
        (_changed(packed(), -8), OSError),
        (_changed(packed(), -1), OSError),
        (packed()[:10] + b"\xff" * 500, DeflateError),
        (b"no gzip at all", OSError),
    ],
    ids=["cut off", "cut off in the checksum", "wrong checksum", "wrong length", "no deflate", "no gzip"],
)
def test_damage_is_seen_at_the_latest_at_the_end(tmp_path, data, raised):
    (tmp_path / "a.gz").write_bytes(data)
    with gzip_reader(tmp_path / "a.gz") as file, pytest.raises(raised):
        list(iter(lambda: file.read(1 << 16), b""))


def test_gzip_is_known_by_its_content(tmp_path):
    (tmp_path / "a.nii").write_bytes(packed())
    (tmp_path / "b.gz").write_bytes(b"plain")
    (tmp_path / "c.gz").write_bytes(b"")
    assert [is_gzip(tmp_path / name) for name in ("a.nii", "b.gz", "c.gz")] == [True, False, False]
