"""Zips: what comes out, and what is not let out."""

import gc
import pickle
import stat
import zipfile

import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import archive


def pack(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return path


def test_files_come_out_and_go_when_unused(tmp_path):
    folder = archive.unpack(pack(tmp_path / "a.zip", {"x/one.txt": b"1", "two.txt": b"2"}))
    place = folder.path
    assert (place / "x" / "one.txt").read_bytes() == b"1"
    copy = pickle.loads(pickle.dumps(folder))
    del copy
    gc.collect()
    assert place.is_dir()
    del folder
    gc.collect()
    assert not place.exists()


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "C:\\evil.txt", "..\\evil.txt"])
def test_an_entry_that_points_outside_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="points outside the zip"):
        archive.unpack(pack(tmp_path / "a.zip", {name: b"evil"}))
    assert not list(tmp_path.rglob("evil.txt"))
    assert not (tmp_path.parent / "evil.txt").exists()


def test_a_symbolic_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(link, "/etc")
    with pytest.raises(InputError, match="symbolic link"):
        archive.unpack(tmp_path / "a.zip")


def test_absurd_sizes_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    path = pack(tmp_path / "a.zip", {"zeros": bytes(1 << 20)})
    monkeypatch.setattr(archive, "RATIO_COUNTS_FROM_BYTES", 1 << 16)
    monkeypatch.setattr(archive.tempfile, "mkdtemp", lambda **_: pytest.fail("made a folder"))
    with pytest.raises(InputError, match="would unpack to"):
        archive.unpack(path)


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_FILES", 3)
    with pytest.raises(InputError, match="holds 4 files"):
        archive.unpack(pack(tmp_path / "a.zip", {str(number): b"" for number in range(4)}))


def test_a_damaged_zip_gets_one_line(tmp_path):
    path = pack(tmp_path / "a.zip", {"one": bytes(range(256)) * 50})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="can't be unpacked"):
        archive.unpack(path)
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match="can't be unpacked") as refused:
        archive.unpack(path)
    assert "\n" not in str(refused.value)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = pack(tmp_path / "a.zip", {"one": b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        archive.unpack(path)
