"""The verb `unpack`: the zip of a packed bundle becomes its folder, or is refused before anything is in its place."""

import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.errors import ConfigError, InputError, WeightsError
from radseg.pipelines.io.archive import unsafe, write_entry
from radseg.pipelines.io.volume import first_line
from radseg.pipelines.pack.place import check_place, made_beside
from radseg.pipelines.weights import sha256_of

MOST_FILES = 1_000
MOST_BYTES = 4 << 30
MOST_RATIO = 50
"""Weights hardly compress at all; what unpacks to more than so many times the zip's own size is no bundle."""
RATIO_COUNTS_FROM_BYTES = 64 << 20
_DEEPEST = 16
_LONGEST = 255
_BYTES_OF_AN_ENTRY = 46 + 2 * _LONGEST * _DEEPEST
_END = struct.Struct("<4s4H2LH")  # APPNOTE 4.3.16, end of central directory record
_UNWANTED = frozenset('\\:*?"<>|')


def unpack(archive: str | Path, output: str | Path, *, overwrite: bool = False) -> Path:
    """Unpacks the zip that `pack` or a model zoo wrote.

    Args:
        archive: the zip; it holds one folder with `configs/metadata.json` in it.
        output: folder that gets that folder.
        overwrite: replace a pack that is there.

    Returns:
        The bundle's folder. Nothing in it was run; its configs are code.

    Raises:
        InputError: no such file, not a zip, damaged, encrypted, entries that point outside, are links or devices or
            come twice, more files or bytes than a bundle has, or no bundle in it.
        ConfigError: something is at the place already.
        WeightsError: the weights aren't those that the metadata tells of.
    """
    file = Path(archive)
    try:
        _check_end(file)
        with zipfile.ZipFile(file) as opened:
            entries = opened.infolist()
            trouble = next((text for text in map(_trouble, entries) if text), None) or _together(entries)
            if trouble:
                raise InputError(f"{file}: {trouble}")
            target = Path(output) / PurePosixPath(entries[0].filename).parts[0]
            check_place(target, overwrite)
            with made_beside(target, overwrite) as made:
                _write(opened, [entry for entry in entries if not entry.is_dir()], made, file)
                _check_bundle(made, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise InputError(f"{file}: the zip can't be unpacked ({first_line(error)}); fetch it again") from error
    return target


def _check_end(file: Path) -> None:
    """Refuses a table of contents that is too long to be read at all; Python would take all of it into memory."""
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 20 - _END.size))
        tail = stream.read()
    if len(tail) < _END.size:
        raise zipfile.BadZipFile("not a zip")
    sign, _, _, _, number, bytes_of_table, _, comment = _END.unpack(tail[-_END.size :])
    if sign != b"PK\5\6" or comment:
        raise zipfile.BadZipFile("not a zip, cut short, or with a comment at its end")
    if number > MOST_FILES or bytes_of_table > MOST_FILES * _BYTES_OF_AN_ENTRY or tail.startswith(b"PK\6\7"):
        raise InputError(f"{file}: the zip holds more than {MOST_FILES} files or is a zip64; no bundle is so large")


def _trouble(entry: zipfile.ZipInfo) -> str | None:
    """Why this entry can't be part of a bundle."""
    trouble = unsafe(entry)
    if trouble:
        return trouble
    name = entry.filename
    parts = name.removesuffix("/").split("/")
    mode = stat.S_IFMT(entry.external_attr >> 16)
    if any(map(_odd, parts)) or len(parts) > _DEEPEST or set(name) & _UNWANTED or not name.isprintable():
        return f"the entry {ascii(name)[:80]} has a name that not every system can write; pack it again"
    if parts[0].startswith("."):
        return f"the entry {ascii(name)[:80]} is hidden; pack the bundle's folder"
    if mode not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
        return f"the entry {ascii(name)[:80]} isn't a plain file; pack the files themselves"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"the entry {ascii(name)[:80]} is compressed in an unusual way; pack it stored or deflated"
    return None


def _odd(part: str) -> bool:
    return part in ("", ".") or part.endswith((".", " ")) or len(part.encode(errors="replace")) > _LONGEST


def _together(entries: Sequence[zipfile.ZipInfo]) -> str | None:
    """Why these entries together are no bundle."""
    files = [entry for entry in entries if not entry.is_dir()]
    if len({entry.filename.split("/")[0] for entry in entries}) != 1 or any("/" not in one.filename for one in files):
        return "the zip must hold one folder, the bundle's; pack it with `radseg pack --zip`"
    if not any(PurePosixPath(entry.filename).parts[1:] == ("configs", "metadata.json") for entry in files):
        return "the zip holds no bundle: there is no configs/metadata.json in its folder"
    names = [unicodedata.normalize("NFC", entry.filename).casefold() for entry in files]
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    twice = next((name for name in names if name in folders or names.count(name) > 1), None)
    if twice is not None:
        return f"the entry {ascii(twice)[:80]} is there twice, on some systems; pack it again"
    return None


def _write(opened: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], folder: Path, file: Path) -> None:
    packed = file.stat().st_size
    most = min(MOST_BYTES, max(RATIO_COUNTS_FROM_BYTES, MOST_RATIO * packed))
    said = sum(entry.file_size for entry in entries)
    free = shutil.disk_usage(folder.parent).free
    written = 0
    for entry in entries:
        if said > most or written > most:
            sizes = f"more than {most / 2**20:.0f} MiB from {packed / 2**20:.1f} MiB"
            raise InputError(f"{file}: the zip would unpack to {sizes}; no bundle does")
        if said > free:
            raise InputError(f"{file}: needs {said / 2**20:.0f} MiB, which aren't free; unpack it elsewhere")
        # an entry may not be larger than it says, so what is said bounds what is written
        written += write_entry(opened, entry, folder.joinpath(*PurePosixPath(entry.filename).parts[1:]))


def _check_bundle(folder: Path, file: Path) -> None:
    try:
        about = read_json(folder / "configs" / "metadata.json")
    except (ConfigError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: its configs/metadata.json can't be read; fetch it again") from error
    recorded, state = about.get("weights_sha256"), folder / "models" / "model.pt"
    if recorded is not None and not state.is_file():
        raise WeightsError(f"{file}: its metadata tells of weights, but there is no models/model.pt; fetch it again")
    if recorded is not None and sha256_of(state) != recorded:
        raise WeightsError(f"{file}: models/model.pt isn't the one that its metadata tells of; fetch it again")
