"""The read cache: a bounded folder of downloaded files, each known by URL and version and checked by SHA-256."""

import hashlib
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.store.storage import RemoteFile, download

_logger = logging.getLogger("radseg.storage")


class ReadCache:
    """Gives local copies of remote files and remembers them.

    `objects/<key>` holds a file's content and `objects/<key>.sha256` its hash; the time of the latter is when it was
    last used. A user gets a hard link, so that what somebody works with can't be taken away: only files without
    another link are deleted to make room, those used longest ago first. A download goes beside its user's copy under a
    hidden name and becomes an object by renaming when it is whole.

    Args:
        folder: made when needed.
        limit_bytes: size of all objects to stay below; what is in use may go beyond it, with a warning.
        fetch: writes a remote file to a new local one, or raises.
    """

    def __init__(self, folder: Path, limit_bytes: int, fetch: Callable[[RemoteFile, Path], None] = download) -> None:
        self.objects = folder / "objects"
        self.limit_bytes = limit_bytes
        self._fetch = fetch
        self._lock = threading.Lock()
        self._held_bytes: int | None = None

    def get(self, remote: RemoteFile, target: Path) -> None:
        """Makes `target`, which isn't there yet, a copy of the remote file; the copy is to be read only.

        Raises:
            InputError: it can't be fetched, or the cache can't be written.
            ConfigError: the store wants other credentials, or a package is missing.
        """
        held = self.objects / remote.key
        try:
            if self._take(held, target):
                return
            self.objects.mkdir(mode=0o700, parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._make_room(remote.size or 0)
            part = target.with_name(f".{uuid.uuid4().hex}")
            note = part.with_suffix(".sha256")
            try:
                self._fetch(remote, part)
                part.chmod(0o400)  # images of patients
                note.write_text(_sha256(part))
                _link(part, target)
                size = part.stat().st_size
                part.replace(held)
                note.replace(_note_of(held))
            finally:
                part.unlink(missing_ok=True)
                note.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.objects.parent}: the read cache can't be written ({error.strerror}); "
                "free some space or set --storage#cache_dir DIR"
            ) from error
        with self._lock:
            self._held_bytes = (self._held_bytes or 0) + size

    def _take(self, held: Path, target: Path) -> bool:
        """Links a cached file if it is there and whole; a damaged one is deleted."""
        note = _note_of(held)
        try:
            digest = note.read_text()
            _link(held, target)
        except FileNotFoundError:
            return False
        if _sha256(target) == digest:
            note.touch()
            return True
        _logger.warning("a file in the read cache was damaged and is fetched again")
        for path in (target, note, held):
            path.unlink(missing_ok=True)
        return False

    def _make_room(self, size: int) -> None:
        """Deletes the files used longest ago until `size` more bytes fit, as far as nobody uses them."""
        with self._lock:
            if self._held_bytes is not None and self._held_bytes + size <= self.limit_bytes:
                return
            ages = []
            total = 0
            for held in self.objects.iterdir():
                try:
                    about, note = held.stat(), _note_of(held)
                    if held.suffix != ".sha256":
                        used_ns = note.stat().st_mtime_ns if note.exists() else 0
                        ages.append((used_ns, about.st_nlink, about.st_size, held))
                        total += about.st_size
                except FileNotFoundError:  # another run made room too
                    continue
            for _, links, held_bytes, held in sorted(ages):
                if total + size <= self.limit_bytes:
                    break
                if links == 1:
                    _note_of(held).unlink(missing_ok=True)
                    held.unlink(missing_ok=True)
                    total -= held_bytes
            self._held_bytes = total
            if total + size > self.limit_bytes:
                _logger.warning("this run needs more than the read cache's limit of %.1f GB", self.limit_bytes / 1e9)


def _note_of(held: Path) -> Path:
    return held.with_name(held.name + ".sha256")


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system knows none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return  # another thread was asked for the same
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
