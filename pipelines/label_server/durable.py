"""Files that appear whole or not at all, and stay after a crash: written beside, synced, renamed."""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PART = ".part"
"""How the name of a file that isn't whole yet ends; it begins with a dot, so that nobody lists it."""

Write = Callable[[Path], None]


def write_whole(files: Mapping[Path, Write]) -> None:
    """Has each file filled beside its place, and renames all when all are whole and on disk.

    What was there stays until then, and stays for good when one of them can't be written.

    Raises:
        OSError: such as on a full disk; nothing is left of the attempt.
    """
    parts = {place: place.with_name(f".{place.name}.{uuid.uuid4().hex}{PART}") for place in files}
    try:
        for place, write in files.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            write(parts[place])
            sync(parts[place])
        for place, part in parts.items():
            part.replace(place)
            sync(place.parent)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def copied(source: Path) -> Write:
    """Fills a file with another's bytes."""

    def write(part: Path) -> None:
        shutil.copyfile(source, part)

    return write


def as_json(content: Any) -> Write:
    """Fills a file with JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"

    def write(part: Path) -> None:
        part.write_text(text)

    return write


def sync(path: Path) -> None:
    """Has a file's or folder's content on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds a lock between processes and threads; the kernel lets go of it when its holder dies.

    Raises:
        BlockingIOError: somebody else holds it, and `wait` is false.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
