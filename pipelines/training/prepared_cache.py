"""Prepared images kept on disk from one training to the next, known by what they were made of."""

import hashlib
import inspect
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import radseg.pipelines.io
import radseg.transforms
from radseg.pipelines.errors import InputError
from radseg.pipelines.fingerprint import fingerprint
from radseg.pipelines.io.itk_image import image_files
from radseg.pipelines.weights import sha256_of

_logger = logging.getLogger("radseg.training")
_FORMAT = 1
_LIBRARIES = ("monai", "numpy", "opencv-python-headless", "scipy", "torch")
_DEPTH = 12

Prepared = dict[str, torch.Tensor]


class PreparedCache:
    """A bounded folder of prepared items, which several processes may share.

    An entry is a folder named by a hash over the content of the item's files, the settings of the transform and the
    code behind it. Content, not path and time: a dataset that was copied, or fetched anew, is the same dataset. It
    holds one `.npy` file a key and `entry.json` with their sha256, and appears by one rename. `.npy` holds numbers and
    nothing that is run, unlike the pickles of `torch.save` that MONAI's `PersistentDataset` writes, and can be mapped
    into memory. A damaged entry is made anew. Of two processes that want the same item, one makes it while the other
    waits. To make room, the entries unused for longest are deleted, but none that this object gave out; who has one
    mapped keeps it.

    Args:
        folder: made when needed, for its owner alone.
        transform: what prepares an item, deterministic.
        limit_bytes: size of all entries to stay below; what has no room isn't kept, with a warning. Processes that
            write at the same time may go beyond it by what each adds.
    """

    def __init__(self, folder: Path | str, transform: object, limit_bytes: int) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        self._recipe = [_FORMAT, fingerprint(transform), _code_sha256(transform), *map(version, _LIBRARIES)]
        self._given: set[str] = set()
        self._held_bytes: int | None = None
        self._full = False

    def get(self, item: Mapping[str, Any], prepare: Callable[[], Prepared]) -> Prepared:
        """The prepared item, mapped from disk (copy on write); or as `prepare` makes it where it can't be kept.

        Args:
            item: path or paths of each key; an item of anything else isn't kept.
            prepare: makes it when it isn't there.

        Raises:
            InputError: the folder can't be written or a source can't be read.
        """
        content = {key: _content(value) for key, value in sorted(item.items())}
        if None in content.values():
            return prepare()
        key = hashlib.sha256(json.dumps([*self._recipe, content]).encode()).hexdigest()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(key):
                kept = self._read(key, list(content))
                if kept is None:
                    prepared = prepare()
                    kept = self._read(key, list(content)) if self._write(key, prepared) else prepared
                return prepared if kept is None else kept
        except OSError as error:
            raise InputError(
                f"{self.folder}: prepared images can't be kept there ({error.strerror or error}); "
                "free some space or choose another --cache_dir"
            ) from error

    def _read(self, key: str, names: list[str]) -> Prepared | None:
        """An entry, its files mapped; None where there is none, or a damaged one."""
        entry = self.folder / key
        try:
            digests = json.loads((entry / "entry.json").read_text())
            if {name: sha256_of(entry / f"{name}.npy") for name in names} != digests:
                raise ValueError("damaged")
            found = {name: torch.from_numpy(np.load(entry / f"{name}.npy", mmap_mode="c")) for name in names}
            os.utime(entry)
        except FileNotFoundError:
            return None
        except (ValueError, UnicodeDecodeError):
            _logger.warning("a prepared image in the cache was damaged and is made anew")
            return None
        self._given.add(key)
        return found

    def _write(self, key: str, prepared: Prepared) -> bool:
        """Keeps an item, whatever was there; whether there was room."""
        size = sum(value.numel() * value.element_size() for value in prepared.values())
        if not self._make_room(size):
            if not self._full:
                _logger.warning(
                    "the cache of prepared images is full at %.1f GB: the other images stay in memory and are "
                    "prepared anew next time; raise cache_limit_gb",
                    self.limit_bytes / 1e9,
                )
            self._full = True
            return False
        fresh, entry = self._being_written(key), self.folder / key
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        try:
            for name, value in prepared.items():
                np.save(fresh / f"{name}.npy", value.numpy(), allow_pickle=False)
            digests = {name: sha256_of(fresh / f"{name}.npy") for name in prepared}
            (fresh / "entry.json").write_text(json.dumps(digests))
            _delete(entry)
            fresh.rename(entry)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        self._held_bytes = (self._held_bytes or 0) + size
        return True

    def _make_room(self, size: int) -> bool:
        """Deletes the entries unused for longest until `size` more bytes fit; whether they do."""
        if self._held_bytes is not None and self._held_bytes + size <= self.limit_bytes:
            return True
        for left in self.folder.glob(".writing-*"):  # by a process that was killed, unless its lock is taken
            with suppress(BlockingIOError), self._locked(left.name.removeprefix(".writing-"), wait=False):
                shutil.rmtree(left, ignore_errors=True)
        entries = []
        for note in self.folder.glob("*/entry.json"):
            with suppress(FileNotFoundError):  # another process makes room too
                bytes_held = sum(file.stat().st_size for file in note.parent.iterdir())
                entries.append((note.parent.stat().st_mtime_ns, bytes_held, note.parent))
        self._held_bytes = sum(bytes_held for _, bytes_held, _ in entries)
        for _, bytes_held, entry in sorted(entries):
            if self._held_bytes + size <= self.limit_bytes:
                break
            if entry.name not in self._given:
                _delete(entry)
                self._held_bytes -= bytes_held
        return self._held_bytes + size <= self.limit_bytes

    def _being_written(self, key: str) -> Path:
        return self.folder / f".writing-{key}"

    @contextmanager
    def _locked(self, key: str, wait: bool = True) -> Iterator[None]:
        """One process at a time for the keys that begin alike; where files can't be locked, two may do the same work.

        Raises:
            BlockingIOError: another has it, and `wait` is off.
        """
        with (self.folder / f".lock-{key[:2]}").open("w") as file:
            try:
                import fcntl
            except ImportError:
                pass
            else:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield


def _delete(entry: Path) -> None:
    """Deletes an entry, which nobody sees half deleted: what tells of it goes first."""
    (entry / "entry.json").unlink(missing_ok=True)
    shutil.rmtree(entry, ignore_errors=True)


def _content(source: object) -> list[Any] | None:
    """What tells two sources apart: names and sha256 of their files; None of anything that isn't files."""
    if isinstance(source, list | tuple):
        parts = [_content(one) for one in source]
        return None if None in parts else parts
    if not isinstance(source, str | Path) or not Path(source).exists():
        return None
    path = Path(source)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return [[file.relative_to(path).as_posix(), sha256_of(file)] for file in files]
    # a name says nothing but how to read the file
    return ["".join(path.suffixes[-2:]).lower(), *[sha256_of(file) for file in image_files(path)]]


def _code_sha256(transform: object) -> str:
    """sha256 over the source files of a recipe's components and of all of radseg that reads and transforms images."""
    files = set(_source_files(transform, _DEPTH, set()))
    for package in (radseg.transforms, radseg.pipelines.io):
        for folder in package.__path__:
            files.update(Path(folder).rglob("*.py"))
    digest = hashlib.sha256()
    for one in sorted(sha256_of(file) for file in files):
        digest.update(bytes.fromhex(one))
    return digest.hexdigest()


def _source_files(component: object, depth: int, seen: set[int]) -> Iterator[Path]:
    """The files of the classes and functions that a component is made of."""
    if depth == 0 or id(component) in seen:
        return
    seen.add(id(component))
    if isinstance(component, list | tuple):
        inner = list(component)
    elif isinstance(component, Mapping):
        inner = list(component.values())
    else:
        with suppress(TypeError, OSError):  # of a built-in type
            file = inspect.getsourcefile(component if inspect.isroutine(component) else type(component))
            if file is not None and Path(file).is_file():
                yield Path(file)
        inner = list(getattr(component, "__dict__", {}).values())
    for one in inner:
        yield from _source_files(one, depth - 1, seen)
