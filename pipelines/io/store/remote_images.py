"""The images in stores: DICOM files are fetched together, every other image when its turn comes."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.archive import UnpackedFolder
from radseg.pipelines.io.find_images import Case, InputKind, Refusal, Search, find_images
from radseg.pipelines.io.store.local_copy import fetch_into, note_fetch_trouble, scratch, stands_for
from radseg.pipelines.io.store.storage import RemoteFile, list_files
from radseg.pipelines.io.store.url import last_part, shown

# files that are an image, or hold images, without another file's help
_ALONE: dict[str, str] = {
    ".nii.gz": InputKind.NIFTI,
    ".nii": InputKind.NIFTI,
    ".png": InputKind.PNG,
    ".jpg": InputKind.JPEG,
    ".jpeg": InputKind.JPEG,
    ".zip": "zip",
}
_AT_ONCE = 8


@dataclass(frozen=True)
class RemoteInput:
    """A URL among the inputs, and the files there.

    Attributes:
        url: as it was given.
        is_folder: whether it is a folder or container.
        files: those that may be or belong to an image; hidden ones and the folder of the results are left out.
    """

    url: str
    is_folder: bool
    files: tuple[RemoteFile, ...]


def list_inputs(urls: Sequence[str], exclude: str | None) -> list[RemoteInput]:
    """What is at URLs, leaving out what lies below the URL `exclude`.

    Raises:
        InputError: there is nothing, a folder is empty, or the store can't be reached.
        ConfigError: credentials are missing or wrong, or a package is missing.
    """

    def listed(url: str) -> RemoteInput:
        is_folder, files = list_files(url)
        hidden = (".", "__MACOSX")
        kept = [
            file
            for file in files
            if not any(part.startswith(hidden) for part in file.name.split("/"))
            and not (exclude is not None and f"{file.url}/".startswith(f"{exclude}/"))
        ]
        if not files:
            raise InputError(f"{shown(url)}: holds no files; check the container and folder")
        return RemoteInput(url, is_folder, tuple(kept))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(listed, urls))


def find_remote_images(
    inputs: Sequence[RemoteInput], local: Sequence[Path], search: Search
) -> Iterator[Case | Refusal]:
    """Cases and refusals in remote inputs and local ones, DICOM series of all first; see `find_images`.

    The local copies of a case last as long as the case. A file that can't be fetched when its turn comes is a case
    all the same, one that can't be read (`fetch_trouble` says why), since another run may have more luck.

    Raises:
        InputError: a local input doesn't exist, or the files among which series may be can't be fetched.
        ConfigError: credentials are missing or wrong.
    """
    views = [_View(one, search) for one in inputs]
    roots = [view.gathered() for view in views if view.together or not view.alone]
    for found in find_images([*roots, *local], search) if roots or local else ():
        owner = next((view for view in views if found.source.is_relative_to(view.holder.path)), None)
        empty = isinstance(found, Refusal) and found.reason.startswith("no ") and " found in " in found.reason
        if not (empty and owner is not None and owner.alone):
            yield _held(found, owner)
    waiting = [(view.remote, file) for view in views for file in view.alone]
    del views
    for one, file in waiting:
        yield from _alone(one, file, search)


class _View:
    """The local place of a remote input, or of one file of it."""

    def __init__(self, remote: RemoteInput, search: Search) -> None:
        self.remote = remote
        kinds = {file: _ALONE.get(_suffix(file)) for file in remote.files} if remote.is_folder else {}
        wanted = {"zip", *(search.accepts if search.series is None else ())}
        self.alone = [file for file, kind in kinds.items() if kind in wanted]
        self.together = [file for file in remote.files if kinds.get(file) is None]
        self.holder = UnpackedFolder(Path(tempfile.mkdtemp(dir=scratch())))
        self.holder.remove_when_unused()
        self.root = self.holder.path / last_part(remote.url)
        stands_for(self.root, remote.url)

    def gathered(self) -> Path:
        """The place, with all files in it among which series may be."""
        self.fetch(self.together)
        return self.root

    def fetch(self, files: Sequence[RemoteFile]) -> None:
        fetch_into(self.root if self.remote.is_folder else self.holder.path, files)
        if self.remote.is_folder:
            self.root.mkdir(exist_ok=True)


def _alone(one: RemoteInput, file: RemoteFile, search: Search) -> Iterator[Case | Refusal]:
    view = _View(one, search)
    path = view.root / file.name
    try:
        view.fetch([file])
    except InputError as error:
        note_fetch_trouble(path, str(error))
        kind = _ALONE[_suffix(file)]
        named = Path(path.name[: -len(_suffix(file))]).name
        yield Case(named, InputKind.DICOM if kind == "zip" else InputKind(kind), (path,), path, unpacked=view.holder)
        return
    for found in find_images([view.root], search):
        yield _held(found, view)


def _suffix(file: RemoteFile) -> str:
    lower = file.name.lower()
    return next((suffix for suffix in _ALONE if lower.endswith(suffix)), "")


def _held(found: Case | Refusal, owner: _View | None) -> Case | Refusal:
    """The case, which keeps its local copies alive; one from a zip has its own folder."""
    if isinstance(found, Case) and found.unpacked is None and owner is not None:
        return replace(found, unpacked=owner.holder)
    return found
