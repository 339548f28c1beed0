"""The files below folders, one folder at a time in a fixed order, each read only when its turn comes."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_RESULTS = frozenset({"statistics.json", "preview.png"})
"""Files that show that a folder is the result of a case, and holds no images."""


@dataclass(frozen=True)
class Trouble:
    """Something that can't be looked at, and why in one line."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Visit:
    """One folder that was read, or files that were named one after the other.

    Attributes:
        root: the given folder that this belongs to; None for files that were named themselves.
        files: regular files, or links to some, sorted.
        broken_links: links that lead nowhere, sorted.
        troubles: the folder, or things in it, that can't be read.
        passed_over: whether something here was met already, or will be in its own place.
        start, stop: share of the walk that is done before this, and after it.
    """

    root: Path | None
    files: Sequence[Path] = ()
    broken_links: Sequence[Path] = ()
    troubles: Sequence[Trouble] = ()
    passed_over: bool = False
    start: float = 0.0
    stop: float = 1.0


@dataclass
class _Folder:
    """A folder to enter, and its subfolders (name, whether a link) when it has been entered."""

    path: Path
    real: str
    linked: bool
    start: float
    stop: float
    below: Sequence[tuple[str, bool]] = ()
    entered: int = 0


class Walk:
    """Goes through files and folders: a folder's files first, then its subfolders, by name with numbers as numbers.

    A folder is listed when its turn comes, and only links are looked up one by one, so the walk begins at once and its
    memory doesn't grow with the number of files. Hidden files and folders, folders of results, and whatever isn't a
    regular file (a pipe, a device, a socket) are passed over.

    A link is followed unless what it leads to is met in its own place below the roots. What lies elsewhere is met once,
    however many links lead there. Of roots that overlap, each file counts for the first one.

    Args:
        roots: existing files and folders.
        exclude: a folder that isn't entered.
    """

    def __init__(self, roots: Sequence[Path], exclude: Path | None = None) -> None:
        self._roots = list(roots)
        self._exclude = None if exclude is None else os.path.realpath(exclude)
        self._files = {os.path.realpath(root) for root in roots if not root.is_dir()}
        self._folders = {number: os.path.realpath(root) for number, root in enumerate(roots) if root.is_dir()}
        self._first = {real: number for number, real in reversed(self._folders.items())}
        self._done: set[str] = set()  # roots
        self._linked_files: set[str] = set()
        self._linked_folders: set[str] = set()

    def __iter__(self) -> Iterator[Visit]:
        """Visits in order; files that were named one after the other are one visit."""
        number, count = 0, len(self._roots)
        while number < count:
            first = number
            while number < count and number not in self._folders:
                number += 1
            if number > first:
                yield self._named(first, number)
            else:
                yield from self._below(number)
                self._done.add(self._folders[number])
                number += 1

    def _named(self, first: int, end: int) -> Visit:
        files: list[Path] = []
        troubles: list[Trouble] = []
        for path in self._roots[first:end]:
            real = os.path.realpath(path)
            if not path.is_file():
                troubles.append(Trouble(path, "neither a file nor a folder; give a file, folder or zip"))
            elif real not in self._done and not self._in_folders(real, first):
                files.append(path)
            self._done.add(real)
        share = 1 / len(self._roots)
        return Visit(None, files, troubles=troubles, start=first * share, stop=end * share)

    def _below(self, number: int) -> Iterator[Visit]:
        root, share = self._roots[number], 1 / len(self._roots)
        top = _Folder(root, self._folders[number], False, number * share, (number + 1) * share)
        if top.real in self._done or self._in_folders(top.real, number):
            yield Visit(root, passed_over=True, start=top.start, stop=top.stop)
            return
        yield self._enter(root, top)
        ways = [top]
        while ways:
            above = ways[-1]
            if above.entered == len(above.below):
                ways.pop()
                continue
            name, is_link = above.below[above.entered]
            part = (above.stop - above.start) / (len(above.below) + 1)
            above.entered += 1
            path, start = above.path / name, above.start + above.entered * part
            real = os.path.realpath(path) if is_link else _inside(above.real, name)
            folder = _Folder(path, real, above.linked or is_link, start, start + part)
            if self._excluded(real):
                continue
            if self._met_elsewhere(real, is_link, folder.linked):
                yield Visit(root, passed_over=True, start=start, stop=start + part)
                continue
            yield self._enter(root, folder)
            ways.append(folder)

    def _enter(self, root: Path, folder: _Folder) -> Visit:
        """Lists a folder. Its files, and each of its subfolders, are equal parts of its share of the walk."""
        files, below, broken, troubles = _listed(folder.path)
        folder.below = below
        if folder.linked:
            self._linked_folders.add(folder.real)
        kept: list[Path] = []
        passed_over = False
        for name, is_link in files if not _RESULTS.issubset(name for name, _ in files) else ():
            path = folder.path / name
            real = os.path.realpath(path) if is_link else _inside(folder.real, name)
            if self._met_elsewhere(real, is_link, is_link or folder.linked):
                passed_over = True
                continue
            if is_link:
                self._linked_files.add(real)
            kept.append(path)
        stop = folder.start + (folder.stop - folder.start) / (len(below) + 1)
        return Visit(root, kept, broken, troubles, passed_over, folder.start, stop)

    def _met_elsewhere(self, real: str, is_link: bool, linked: bool) -> bool:
        """Whether a file or folder at this real path, reached through a link or not, needn't be looked at here."""
        if real in self._done:
            return True
        if not linked:
            return False
        place, name = os.path.split(real)
        beside = is_link and place in self._linked_folders and not name.startswith(".")
        linked_before = real in self._linked_files or real in self._linked_folders
        return beside or linked_before or real in self._files or self._in_folders(real, len(self._roots))

    def _in_folders(self, real: str, end: int) -> bool:
        """Whether the walk through one of the folders given before number `end` comes to this file or folder."""
        for folder in (real, *map(str, Path(real).parents)):
            if self._first.get(folder, end) >= end:
                continue
            parts = Path(real).relative_to(folder).parts
            hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
            result = Path(real).is_file() and all((Path(real).parent / name).is_file() for name in _RESULTS)
            if not (hidden or result or self._excluded(real)):
                return True
        return False

    def _excluded(self, real: str) -> bool:
        return self._exclude is not None and (real == self._exclude or real.startswith(self._exclude + os.sep))


def _listed(
    folder: Path,
) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]], list[Path], list[Trouble]]:
    """Files and subfolders (name, whether a link), links to nothing, and what can't be read; nothing hidden."""
    files: list[tuple[str, bool]] = []
    below: list[tuple[str, bool]] = []
    broken: list[Path] = []
    troubles: list[Trouble] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    is_link = entry.is_symlink()
                    mode = entry.stat().st_mode if is_link else 0
                    if stat.S_ISDIR(mode) if is_link else entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("__MACOSX"):
                            below.append((entry.name, is_link))
                    elif stat.S_ISREG(mode) if is_link else entry.is_file(follow_symlinks=False):
                        files.append((entry.name, is_link))
                except PermissionError as error:
                    troubles.append(_trouble(folder / entry.name, error))
                except OSError:
                    broken.append(folder / entry.name)
    except OSError as error:
        return [], [], [], [_trouble(folder, error)]
    return sorted(files), sorted(below, key=_natural), sorted(broken), sorted(troubles, key=lambda one: one.path)


def _inside(folder: str, name: str) -> str:
    return f"{folder.rstrip(os.sep)}{os.sep}{name}"


def _trouble(path: Path, error: OSError) -> Trouble:
    return Trouble(path, f"can't be read ({error.strerror}); check its permissions")


def _natural(entry: tuple[str, bool]) -> tuple[list[str | int], str]:
    """ "part9" before "part10": a series spread over numbered folders is met in one go."""
    name = entry[0]
    return [int(part) if turn % 2 else part for turn, part in enumerate(re.split("([0-9]+)", name))], name
