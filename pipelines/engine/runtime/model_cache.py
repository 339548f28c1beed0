"""Keeps converted networks on disk, so that only the first run on a machine converts."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radseg.pipelines.engine.runtime.quiet_openvino import openvino, openvino_core

LIMIT_BYTES = 2_000_000_000


class ModelCache:
    """A folder of OpenVINO models, one sub-folder each, readable by its owner only.

    An entry appears by one rename and is checked when it is read. When the folder can't be used, there is a note and
    nothing is kept.

    Args:
        folder: where models are kept; None is `~/.cache/radseg/runtime`.
        note: told once, in one line without paths, when nothing can be kept.
        limit_bytes: above it, the entries unused for longest are deleted.
    """

    def __init__(self, folder: str | Path | None, note: Callable[[str], None], limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = None if folder is None else Path(folder)
        self._note = note
        self._limit_bytes = limit_bytes

    @property
    def folder(self) -> Path:
        """Where models are kept.

        Raises:
            RuntimeError: the default was asked for and the user has no home.
        """
        return self._folder or Path.home() / ".cache" / "radseg" / "runtime"

    def read(self, key: str) -> Any:
        """The `openvino.Model` kept as `key`, its weights mapped from disk; None if there is none, or a damaged one."""
        try:
            entry = self.folder / key
            if (entry / "sha256").read_text() != _digest(entry):
                return None
            model = openvino_core().read_model(entry / "model.xml")
            os.utime(entry)
        except (OSError, RuntimeError, ValueError):
            return None
        return model

    def write(self, key: str, model: Any) -> bool:
        """Keeps `model` as `key`, whatever was there; whether it could be kept."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.folder))
            try:
                openvino().serialize(model, fresh / "model.xml", fresh / "model.bin")
                (fresh / "sha256").write_text(_digest(fresh))
                _replace(fresh, self.folder / key)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            self._tidy(key)
        except (OSError, RuntimeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            self._note(f"the converted network could not be kept on disk ({reason}): the next run converts it again")
            return False
        return True

    def _tidy(self, newest: str) -> None:
        # whatever else is in the folder is somebody else's
        ours = (entry.parent for entry in self.folder.glob("*/sha256") if (entry.parent / "model.xml").is_file())
        entries = sorted(ours, key=lambda entry: -_last_use(entry))
        entries.sort(key=lambda entry: entry.name != newest)
        total = 0
        for entry in entries:
            total += sum(file.stat().st_size for file in entry.glob("model.*"))
            if total > self._limit_bytes and entry.name != newest:
                shutil.rmtree(entry, ignore_errors=True)


def _replace(fresh: Path, entry: Path) -> None:
    shutil.rmtree(entry, ignore_errors=True)
    try:
        fresh.rename(entry)
    except OSError:
        if not (entry / "sha256").is_file():  # else another process was first, with the same model
            raise


def _last_use(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:  # another process deleted it just now
        return 0.0


def _digest(entry: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.xml", "model.bin"):
        with (entry / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
