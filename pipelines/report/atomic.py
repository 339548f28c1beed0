"""Text files that are there whole or not at all."""

import os
from collections.abc import Iterable
from pathlib import Path


def write_whole(file: Path, parts: Iterable[str]) -> None:
    """Writes text as UTF-8 beside its place and renames it when it is on disk; what can't be encoded becomes "?".

    Raises:
        OSError: it can't be written; what was there before stays.
    """
    beside = file.with_name(f".{file.name}.part")
    try:
        with beside.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
