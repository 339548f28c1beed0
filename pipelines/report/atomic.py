"""Files that are there whole or not at all."""

import os
from collections.abc import Iterable
from pathlib import Path


def write_whole(file: Path, parts: Iterable[str] | bytes) -> None:
    """Writes text or bytes beside their place and renames them when they are on disk.

    Text becomes UTF-8; what can't be encoded becomes "?".

    Raises:
        OSError: it can't be written; what was there before stays.
    """
    beside = file.with_name(f".{file.name}.part")
    pieces = [parts] if isinstance(parts, bytes) else (part.encode("utf-8", "replace") for part in parts)
    try:
        with beside.open("wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
