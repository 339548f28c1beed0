"""Unpacking a zip of images into a temporary folder without letting it write elsewhere or fill the disk."""

import os
import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.volume import first_line

MOST_FILES = 100_000
MOST_BYTES = 32 << 30
MOST_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 1 << 30
_CHUNK = 1 << 20


class UnpackedFolder:
    """A temporary folder that is removed when nobody holds this object any more, or at exit.

    A copy that was pickled to another process points to the folder without owning it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def remove_when_unused(self) -> None:
        """Tie the folder's life to this object's."""
        weakref.finalize(self, _remove, self.path, os.getpid())


def unpack(path: Path) -> UnpackedFolder:
    """Unpack a zip of images.

    Raises:
        InputError: not a zip, encrypted, damaged, entries that point outside or are links, or an absurd size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            trouble = _trouble(entries, path.stat().st_size)
            if trouble:
                raise InputError(f"{path}: {trouble}")
            folder = UnpackedFolder(Path(tempfile.mkdtemp(prefix="radseg-zip-")))
            folder.remove_when_unused()
            for entry in entries:
                write_entry(archive, entry, folder.path / entry.filename)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise InputError(f"{path}: the zip can't be unpacked ({first_line(error)}); pack or copy it again") from error
    return folder


def unsafe(entry: zipfile.ZipInfo) -> str | None:
    """Why an entry can't be unpacked without looking at the others: it points outside, is a link or is encrypted."""
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    absolute = entry.filename.startswith(("/", "\\")) or PureWindowsPath(entry.filename).drive
    if absolute or ".." in parts:
        return f"the entry {entry.filename!r} points outside the zip; pack it again"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return f"the entry {entry.filename!r} is a symbolic link; pack the files themselves"
    if entry.flag_bits & 1:
        return "the zip is encrypted; unpack it first"
    return None


def _trouble(entries: list[zipfile.ZipInfo], packed_bytes: int) -> str | None:
    for entry in entries:
        trouble = unsafe(entry)
        if trouble:
            return trouble
    size = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_FILES:
        return f"the zip holds {len(entries)} files (at most {MOST_FILES}); unpack it first"
    if size > MOST_BYTES or (size > RATIO_COUNTS_FROM_BYTES and size > MOST_RATIO * packed_bytes):
        return f"the zip would unpack to {size / 2**30:.1f} GiB from {packed_bytes / 2**20:.1f} MiB; unpack it first"
    if size > shutil.disk_usage(tempfile.gettempdir()).free:
        return f"the zip needs {size / 2**30:.1f} GiB of temporary space, which isn't free; unpack it elsewhere"
    return None


def write_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> int:
    """Unpacks one entry, counting what really comes out of it; gives the number of bytes.

    Raises:
        zipfile.BadZipFile: it is larger than it says, or damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as packed, target.open("wb") as file:
        while chunk := packed.read(_CHUNK):
            written += len(chunk)
            if written > entry.file_size:
                raise zipfile.BadZipFile(f"{entry.filename} is larger than it says")
            file.write(chunk)
    return written


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)
