"""The manifest of a batch: one JSON line for each case that ended, in the order they ended."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Manifest:
    """Appends lines to `manifest.jsonl` and knows what is already there; safe to share between threads.

    A line torn by a killed run is passed over when reading and closed off before the next one is written.

    Args:
        file: path of the manifest; made with its first line.
        publish: called after every line, such as to upload the file.
    """

    def __init__(self, file: Path, publish: Callable[[], None] = lambda: None) -> None:
        self.file = file
        self._publish = publish
        self._lock = threading.Lock()

    def read(self) -> list[dict[str, Any]]:
        """All whole lines, oldest first."""
        if not self.file.is_file():
            return []
        rows = []
        for line in self.file.read_bytes().split(b"\n"):
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError):
                continue
            if isinstance(row, dict):
                rows.append(row)
        return rows

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds one line and waits until it is on disk.

        Raises:
            OSError: the file can't be written.
        """
        with self._lock:
            with self.file.open("ab+") as stream:
                torn = False
                if stream.tell():
                    stream.seek(-1, os.SEEK_END)
                    torn = stream.read(1) != b"\n"
                stream.write(b"\n" * torn + json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            self._publish()
