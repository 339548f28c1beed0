"""Versions of the models that a server runs: each a packed bundle of its own, one of them serving.

WORKSPACE/<name>/v0001/ is what the bundle shipped with or was given, later ones were trained from submitted labels.
Which one serves stands in `current.json`, replaced by one rename. A version is never changed once it is there.
"""

import json
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radseg.pipelines.bundle_loader import find_bundle, read_json
from radseg.pipelines.errors import ConfigError, InputError, WeightsError
from radseg.pipelines.label_server.durable import as_json, locked, sync, write_whole
from radseg.pipelines.pack import pack
from radseg.pipelines.weights import sha256_of

_FOLDER = re.compile(r"v(\d{4,})")
_CURRENT, _ABOUT = "current.json", "version.json"


@dataclass(frozen=True)
class Version:
    """One version of a model.

    Attributes:
        number: from 1.
        folder: its packed bundle.
        created: UTC, ISO 8601.
        weights_sha256: of its weights; None of a bundle that has none yet.
        note: what was said of it when it was added, such as the labels that it was trained from.
    """

    number: int
    folder: Path
    created: str
    weights_sha256: str | None
    note: Mapping[str, Any]

    @property
    def weights(self) -> Path | None:
        """Its weights file, None without one."""
        return None if self.weights_sha256 is None else self.folder / "models" / "model.pt"

    def told(self) -> dict[str, Any]:
        """What a client is told of it; no path."""
        return {
            "version": self.number,
            "created": self.created,
            "weights_sha256": self.weights_sha256,
            "note": dict(self.note),
        }


class Versions:
    """The versions of all models of a workspace; safe to use from several processes at a time.

    Args:
        workspace: folder that holds them.
        first_weights: weights file that version 1 of a model is made with, by the model's name; else what it ships.
    """

    def __init__(self, workspace: Path | str, first_weights: Mapping[str, Path | str] | None = None) -> None:
        self.workspace = Path(workspace).absolute()
        self.first_weights = {name: Path(file) for name, file in (first_weights or {}).items()}

    def prepare(self, name: str) -> Path:
        """The folder of the version that serves; packs the shipped bundle as version 1 when there is none.

        Raises:
            ConfigError: no such bundle, or the workspace can't be written.
        """
        try:
            with locked(self._home(name) / ".lock"):
                self._clear(name)
                if not self._numbers(name):
                    origin = "given" if name in self.first_weights else "shipped"
                    self._put(name, 1, self._first_weights(name), {"origin": origin})
                if not (self._home(name) / _CURRENT).is_file():
                    self._point(name, self._numbers(name)[0])
        except OSError as error:
            raise self._unwritable(error) from error
        return self._folder(name, self.current(name))

    def current(self, name: str) -> int:
        """Number of the version that serves.

        Raises:
            ConfigError: no such model here, or the file that says so is damaged.
        """
        file = self._home(name) / _CURRENT
        try:
            number = int(json.loads(file.read_text())["version"])
        except FileNotFoundError as error:
            raise ConfigError(f"no versions of {name!r} in {self.workspace}; start the server with it first") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            known = ", ".join(map(str, self._numbers(name)))
            remedy = f'write {{"version": N}} into it, N one of {known}'
            raise ConfigError(f"{file}: doesn't say which version serves; {remedy}") from error
        if not self._folder(name, number).is_dir():
            raise ConfigError(f"{file}: version {number} isn't there; name one of {self._numbers(name)}")
        return number

    def serving(self, name: str) -> Version:
        """The version that serves; errors as `current`."""
        return self._version(name, self.current(name))

    def list(self, name: str) -> Sequence[Version]:
        """All versions, oldest first; none of a model that isn't here."""
        return [self._version(name, number) for number in self._numbers(name)]

    def add(self, name: str, weights: Path | str, *, note: Mapping[str, Any]) -> int:
        """Makes a new version with these weights the one that serves, and gives its number.

        The old version serves until the new one is whole and on disk.

        Raises:
            WeightsError: the file isn't there.
            ConfigError: the workspace can't be written.
        """
        if not Path(weights).is_file():
            raise WeightsError(f"{weights}: no such weights file; train again")
        try:
            with locked(self._home(name) / ".lock"):
                self._clear(name)
                number = max(self._numbers(name), default=0) + 1
                self._put(name, number, Path(weights), note)
                self._point(name, number)
        except OSError as error:
            raise self._unwritable(error) from error
        return number

    def roll_back(self, name: str, to: int) -> None:
        """Has an older version serve again (or a newer one, after that); no version is lost.

        Raises:
            InputError: there is no such version.
            ConfigError: no such model, or the workspace can't be written.
        """
        numbers = self._numbers(name)
        self.current(name)
        if to not in numbers:
            there_are = ", ".join(map(str, numbers))
            raise InputError(f"{name} has no version {to}; it has {there_are}")
        try:
            with locked(self._home(name) / ".lock"):
                self._point(name, to)
        except OSError as error:
            raise self._unwritable(error) from error

    def runs(self, name: str) -> Path:
        """Folder that trainings of a model work in."""
        return self._home(name) / ".runs"

    def training_lock(self) -> Path:
        """The file whose lock a training holds: one at a time, in whichever process."""
        return self.workspace / ".training.lock"

    def _home(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(f"{name!r} can't be a model's name; use letters, digits, _ and -")
        return self.workspace / name

    def _folder(self, name: str, number: int) -> Path:
        return self._home(name) / f"v{number:04d}"

    def _numbers(self, name: str) -> Sequence[int]:
        home = self._home(name)
        if not home.is_dir():
            return []
        found = (_FOLDER.fullmatch(one.name) for one in home.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def _version(self, name: str, number: int) -> Version:
        folder = self._folder(name, number)
        about = read_json(folder / _ABOUT)
        return Version(number, folder, about["created"], about["weights_sha256"], about["note"])

    def _first_weights(self, name: str) -> Path | None:
        given = self.first_weights.get(name, find_bundle(name) / "models" / "model.pt")
        if name in self.first_weights and not given.is_file():
            raise WeightsError(f"{given}: no such weights file for {name}; check the path")
        return given if given.is_file() else None

    def _put(self, name: str, number: int, weights: Path | None, note: Mapping[str, Any]) -> None:
        """Packs a version beside its place and renames it there."""
        staging = self._home(name) / f".{uuid.uuid4().hex}.part"
        try:
            packed = _packed(name, staging, weights)
            digest = None if weights is None else sha256_of(packed / "models" / "model.pt")
            created = datetime.now(UTC).isoformat(timespec="seconds")
            about = {"created": created, "weights_sha256": digest, "note": dict(note)}
            write_whole({packed / _ABOUT: as_json(about)})
            for file in packed.rglob("*"):
                sync(file)
            packed.rename(self._folder(name, number))
            sync(self._home(name))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _point(self, name: str, number: int) -> None:
        write_whole({self._home(name) / _CURRENT: as_json({"version": number})})

    def _clear(self, name: str) -> None:
        """Deletes what a killed `add` left; nobody else is at it while the lock is held."""
        for left in self._home(name).glob(".*.part"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self.workspace}: can't be written ({error.strerror or error}); free some space")


def _packed(name: str, output: Path, weights: Path | None) -> Path:
    if weights is None:
        return pack(name, output, allow_no_weights=True)
    return pack(name, output, weights=weights)
