"""A hostile zip is refused in one line, and nothing of it is left."""

import json
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import ConfigError, InputError, WeightsError
from radseg.pipelines.pack import unpack


def _info(name: str, mode: int = stat.S_IFREG | 0o644, compress: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    entry.compress_type = compress
    return entry


def _refusal(file: Path, error: type[Exception] = InputError) -> str:
    """The line with which it is refused; neither beside nor inside the output is anything new."""
    output = file.parent / "out"
    output.mkdir(exist_ok=True)
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(error) as refusal:
        unpack(file, output)
    assert "\n" not in str(refusal.value)
    assert sorted(file.parent.rglob("*")) == before
    return str(refusal.value)


def test_the_least_bundle_is_unpacked(make_zip: Callable[..., Path], tmp_path: Path) -> None:
    file = make_zip({"small/scripts/": b"", "small/scripts/a.py": b"raise SystemExit"})
    folder = unpack(file, tmp_path / "out")
    assert folder == tmp_path / "out" / "small"
    assert (folder / "scripts" / "a.py").read_bytes() == b"raise SystemExit"


@pytest.mark.parametrize(
    "name",
    ["../x", "small/../../x", "/etc/x", "C:/x", "c:x", "..\\x", "\\\\host\\share\\x", "small/..", "small\\..\\..\\x"],
)
def test_an_entry_that_points_outside_is_refused(name: str, make_zip: Callable[..., Path]) -> None:
    assert "points outside" in _refusal(make_zip({name: b"x"}))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "configs/metadata.json"])
def test_a_symbolic_link_is_refused_wherever_it_points(target: str, make_zip: Callable[..., Path]) -> None:
    assert "symbolic link" in _refusal(make_zip({_info("small/link", stat.S_IFLNK | 0o777): target.encode()}))


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_a_device_or_pipe_is_refused(kind: int, make_zip: Callable[..., Path]) -> None:
    assert "isn't a plain file" in _refusal(make_zip({_info("small/device", kind | 0o666): b""}))


@pytest.mark.parametrize(
    "name",
    ["small/a\\b", "small/a:b", "small/./x", "small//x", "small/x.", "small/x ", "small/\x1b[2J", "small/‮x",
     "small/" + "n" * 300, "small/" + "d/" * 20 + "x", "small/a\nb"],
)  # fmt: skip
def test_a_name_that_not_every_system_can_write_is_refused(name: str, make_zip: Callable[..., Path]) -> None:
    assert "name that not every system can write" in _refusal(make_zip({name: b"x"}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["small/configs/metadata.json", "small/CONFIGS/Metadata.json", "small/configs"])
def test_an_entry_that_is_there_twice_is_refused(twin: str, make_zip: Callable[..., Path]) -> None:
    assert "there twice" in _refusal(make_zip({_info(twin): b"{}"}))


def test_two_folders_loose_files_and_hidden_ones_are_no_bundle(make_zip: Callable[..., Path]) -> None:
    assert "must hold one folder" in _refusal(make_zip({"other/x": b""}))
    assert "must hold one folder" in _refusal(make_zip({"loose": b""}))
    assert "hidden" in _refusal(make_zip({".ssh/configs/metadata.json": b"{}"}, bundle=False))
    assert "no bundle" in _refusal(make_zip({"small/x": b""}, bundle=False))
    assert "must hold one folder" in _refusal(make_zip(bundle=False))


def test_an_encrypted_zip_is_refused(make_zip: Callable[..., Path]) -> None:
    file = make_zip()
    content = bytearray(file.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    file.write_bytes(content)
    assert "encrypted" in _refusal(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_refused(method: int, make_zip: Callable[..., Path]) -> None:
    assert "compressed in an unusual way" in _refusal(make_zip({_info("small/x", compress=method): b"x"}))


def test_a_bomb_is_refused_by_what_it_says(make_zip: Callable[..., Path]) -> None:
    file = make_zip({_info("small/zeros", compress=zipfile.ZIP_DEFLATED): bytes(80 << 20)})
    assert file.stat().st_size < 1 << 20
    assert "would unpack to more than 64 MiB" in _refusal(file)


def test_a_bomb_that_lies_of_its_size_is_stopped_while_it_is_written(make_zip: Callable[..., Path]) -> None:
    file = make_zip({_info("small/zeros", compress=zipfile.ZIP_DEFLATED): bytes(8 << 20)})
    content = bytearray(file.read_bytes())
    said = struct.pack("<L", 8 << 20)
    while (place := content.find(said)) >= 0:  # the local header and the table of contents
        content[place : place + 4] = struct.pack("<L", 10)
    file.write_bytes(content)
    with zipfile.ZipFile(file) as archive:
        assert archive.getinfo("small/zeros").file_size == 10
    assert "can't be unpacked" in _refusal(file)


def test_a_bomb_of_many_small_parts_is_counted_together(
    make_zip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radseg.pipelines.pack.unpacking.RATIO_COUNTS_FROM_BYTES", 1 << 20)
    parts = {_info(f"small/{n}", compress=zipfile.ZIP_DEFLATED): bytes(1 << 18) for n in range(8)}
    assert "would unpack to more than 1 MiB" in _refusal(make_zip(parts))


def test_entries_that_share_their_bytes_are_refused(make_zip: Callable[..., Path]) -> None:
    file = make_zip({_info("small/a", compress=zipfile.ZIP_DEFLATED): bytes(4 << 20), "small/b": b"b"})
    content = bytearray(file.read_bytes())
    table = content.index(b"PK\1\2")
    a = content.index(b"PK\1\2", table + 1)
    b = content.index(b"PK\1\2", a + 1)
    content[b + 42 : b + 46] = content[a + 42 : a + 46]  # b's bytes are those of a
    file.write_bytes(content)
    assert "can't be unpacked" in _refusal(file)


def test_too_many_entries_are_refused_before_they_are_read(make_zip: Callable[..., Path]) -> None:
    assert "more than 1000 files" in _refusal(make_zip({f"small/{number}": b"" for number in range(1001)}))


def test_a_long_table_of_contents_is_refused_even_if_it_says_it_is_short(make_zip: Callable[..., Path]) -> None:
    file = make_zip()
    content = bytearray(file.read_bytes())
    content[-10:-6] = struct.pack("<L", 64 << 20)
    file.write_bytes(content)
    assert "more than 1000 files" in _refusal(file)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "comment", "crc", "missing"])
def test_a_damaged_zip_is_refused(damage: str, make_zip: Callable[..., Path]) -> None:
    file = make_zip({"small/LICENSE": b"a licence"})
    content = file.read_bytes()
    damaged: dict[str, bytes] = {
        "cut": content[:-30],
        "text": b"no zip, but long enough to have an end",
        "empty": b"",
        "comment": content[:-2] + b"\1\0x",
        "crc": content.replace(b"a licence", b"a silence"),
        "missing": b"",
    }
    file.write_bytes(damaged[damage])
    if damage == "missing":
        file.unlink()
    assert "can't be unpacked" in _refusal(file)


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff\xfe"])
def test_metadata_that_cant_be_read_is_refused(text: bytes, make_zip: Callable[..., Path]) -> None:
    assert "can't be read" in _refusal(make_zip({"small/configs/metadata.json": text}, bundle=False))


@pytest.mark.parametrize("state", [{}, {"small/models/model.pt": b"others"}])
def test_weights_that_the_metadata_doesnt_tell_of_are_refused(
    state: dict[str, bytes], make_zip: Callable[..., Path]
) -> None:
    about = json.dumps({"weights_sha256": "0" * 64}).encode()
    pack = make_zip({"small/configs/metadata.json": about, **state}, bundle=False)
    assert "metadata tells of" in _refusal(pack, WeightsError)


def test_what_is_there_is_replaced_only_if_asked(make_zip: Callable[..., Path], tmp_path: Path) -> None:
    file = make_zip({"small/LICENSE": b"new"})
    folder = unpack(file, tmp_path / "out")
    (folder / "LICENSE").write_text("old")
    with pytest.raises(ConfigError, match="--overwrite"):
        unpack(file, tmp_path / "out")
    assert (folder / "LICENSE").read_text() == "old"
    unpack(file, tmp_path / "out", overwrite=True)
    assert (folder / "LICENSE").read_text() == "new"


def test_a_folder_that_is_no_pack_or_a_link_isnt_overwritten(make_zip: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out" / "small").mkdir(parents=True)
    (tmp_path / "out" / "small" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="isn't a packed bundle"):
        unpack(make_zip(), tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "small" / "thesis.txt").read_text() == "mine"
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "small").symlink_to(tmp_path / "out" / "small")
    with pytest.raises(ConfigError, match="isn't a packed bundle"):
        unpack(make_zip(), tmp_path / "links", overwrite=True)


def test_a_full_disk_is_said_before_anything_is_written(
    make_zip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1})
    monkeypatch.setattr("radseg.pipelines.pack.unpacking.shutil.disk_usage", lambda _: usage)
    assert "aren't free" in _refusal(make_zip())


def test_the_command_line_packs_and_unpacks(small_bundle: Path, radseg: Callable[..., Any], tmp_path: Path) -> None:
    ended = radseg("pack", small_bundle, "-o", tmp_path, "--zip", "--trust-config")
    assert (ended.code, ended.out) == (0, f"{tmp_path / 'small_xray.zip'}\n"), ended.err
    ended = radseg("unpack", tmp_path / "small_xray.zip", "-o", tmp_path / "out")
    assert (ended.code, ended.out) == (0, f"{tmp_path / 'out' / 'small_xray'}\n"), ended.err
    ended = radseg("pack", "lung_xrays", "-o", tmp_path)
    assert ended.code == 2
    assert "did you mean 'lung_xray'" in ended.err


def test_the_command_line_refuses_a_hostile_zip_in_one_line(
    make_zip: Callable[..., Path], radseg: Callable[..., Any], tmp_path: Path
) -> None:
    ended = radseg("unpack", make_zip({"../x": b""}), "-o", tmp_path / "out")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert ended.err.startswith("error: ")
