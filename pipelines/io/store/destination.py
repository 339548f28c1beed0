"""Where results go: a local folder, or a URL whose files are made in a local folder and uploaded when whole."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from radseg.pipelines.errors import InputError, RadsegError
from radseg.pipelines.io.store.errors import NothingThereError
from radseg.pipelines.io.store.local_copy import scratch, stands_for
from radseg.pipelines.io.store.storage import RemoteFile, download, file_at, list_files, remove, upload
from radseg.pipelines.io.store.url import child, place, shown

# local staging folder -> the URL that its files go to
_STAGED: dict[Path, str] = {}


def staged(output_dir: str | Path) -> Path:
    """The folder itself; for a URL a new local folder, whose `Destination` is that URL.

    Raises:
        ConfigError: the cache's folder can't be written.
    """
    where = place(output_dir)
    if isinstance(where, Path):
        return where
    folder = Path(tempfile.mkdtemp(dir=scratch()))
    _STAGED[folder] = where
    stands_for(folder, where)
    return folder


class Destination:
    """A folder of results; of a local one every method below does nothing, or asks the disk.

    A file appears at the URL when it is complete, a folder's files one by one.

    Args:
        output_dir: local folder, folder given by `staged`, or URL.

    Attributes:
        local: folder to write in.
        url: where the files are uploaded to, None for a local folder.
    """

    def __init__(self, output_dir: str | Path) -> None:
        where = place(output_dir)
        if isinstance(where, str):  # several parts of one workflow share a staging folder
            where = next((local for local, url in reversed(_STAGED.items()) if url == where), None) or staged(where)
        self.local = where
        self.url = _STAGED.get(where)
        self._listed: dict[str, RemoteFile | None] | None = None

    def __str__(self) -> str:
        return str(self.local) if self.url is None else shown(self.url)

    def check_writable(self) -> None:
        """Writes and deletes a small file at the URL, so that trouble is known before the work is done.

        Raises:
            InputError: the store can't be reached or doesn't take it.
            ConfigError: credentials are missing or wrong.
        """
        if self.url is not None:
            self.local.mkdir(parents=True, exist_ok=True)
            probe = self.local / ".writable"
            probe.touch()
            upload(probe, f"{self.url}/{probe.name}")
            remove(f"{self.url}/{probe.name}")
            probe.unlink()

    def names(self, folder: str) -> set[str] | None:
        """Names of the files in a folder of the results; None when there is no such folder."""
        if self.url is None:
            there = self.local / folder
            if there.is_dir():
                return {file.name for file in there.iterdir()}
            return set() if there.exists() else None
        below = {name.removeprefix(f"{folder}/") for name in list(self._there()) if name.startswith(f"{folder}/")}
        return below or None

    def has(self, name: str) -> bool:
        """Whether a file, or a folder with files in it, is there."""
        if self.url is None:
            return (self.local / name).exists()
        return any(held == name or held.startswith(f"{name}/") for held in list(self._there()))

    def fetch(self, names: Iterable[str]) -> None:
        """Brings those of the named files that are at the URL into the local folder. Raises as `check_writable`."""
        for name in names if self.url is not None else ():
            if name in self._there():
                target = self.local / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                download(self._there()[name] or file_at(self._at(name)), target)

    def publish(self, names: Iterable[str]) -> None:
        """Uploads the named files, and all files of named folders, in this order. Raises as `check_writable`."""
        for name in names if self.url is not None else ():
            path = self.local / name
            files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            for file in files:
                held = file.relative_to(self.local).as_posix()
                upload(file, self._at(held))
                self._there()[held] = None

    def publish_case(self, folder: str, last: str) -> None:
        """Uploads a folder as a replacement of what is there; the file `last` is there only when all others are.

        Raises as `check_writable`.
        """
        if self.url is None:
            return
        top = self.local / folder
        new = {file.relative_to(top).as_posix() for file in top.rglob("*") if file.is_file()}
        old = self.names(folder) or set()
        self.retract([f"{folder}/{last}"] if last in old else [])
        self.publish(f"{folder}/{name}" for name in sorted(new, key=lambda name: (name == last, name)))
        self.retract(f"{folder}/{name}" for name in old - new)

    def retract(self, names: Iterable[str]) -> None:
        """Deletes files and folders at the URL. Raises as `check_writable`."""
        for name in names if self.url is not None else ():
            for held in [held for held in list(self._there()) if held == name or held.startswith(f"{name}/")]:
                remove(self._at(held))
                del self._there()[held]

    def set_aside(self, names: Sequence[str]) -> str | None:
        """Moves what is at the URL under these names to the first free of `<url>.1`, `<url>.2`, …, and says where.

        Raises as `check_writable`.
        """
        if self.url is None or not any(self.has(name) for name in names):
            return None
        top = "/" not in self.url.partition("://")[2]
        base = f"{self.url}/earlier" if top else self.url  # nothing lies beside a container
        number = 1
        while _holds_files(f"{base}.{number}"):
            number += 1
        for held in [held for held in list(self._there()) if held.split("/")[0] in names]:
            self.fetch([held])  # a copy inside the store may end later than it says, and the original goes now
            upload(self.local / held, str(child(f"{base}.{number}", held)))
            (self.local / held).unlink()
        self.retract(names)
        return shown(f"{base}.{number}")

    @contextmanager
    def kept_on_failure(self) -> Iterator[None]:
        """Keeps the local files, which else end with the process, when uploading them fails, and says where.

        Raises:
            InputError: the upload failed.
        """
        try:
            yield
        except RadsegError as error:
            kept = scratch().parent.parent / "kept" / self.local.name
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copytree(self.local, kept)
            raise InputError(f"{error}; the results are kept in {kept}") from error

    def _at(self, name: str) -> str:
        assert self.url is not None
        return str(child(self.url, name))

    def _there(self) -> dict[str, RemoteFile | None]:
        """The files at the URL when it was first asked for, with those published and without those retracted since."""
        if self._listed is None:
            assert self.url is not None
            try:
                self._listed = {file.name: file for file in list_files(self.url)[1]}
            except NothingThereError:
                self._listed = {}
        return self._listed


@contextmanager
def made_at(output: str | Path, last: str) -> Iterator[Path]:
    """The folder to make a data set in; for a URL a local one, uploaded when the block ends, `last` as the last file.

    Raises:
        InputError: `last` is at the URL already, or the store can't be reached or doesn't take the files.
        ConfigError: credentials are missing or wrong.
    """
    place = Destination(output)
    if place.url is not None:
        if place.has(last):
            raise InputError(f"{place}: holds a {last} already; choose another folder")
        place.check_writable()
    yield place.local
    with place.kept_on_failure():
        files = [path.relative_to(place.local).as_posix() for path in place.local.rglob("*") if path.is_file()]
        place.publish(sorted(files, key=lambda name: (name == last, name)))


def _holds_files(url: str) -> bool:
    try:
        return bool(list_files(url)[1])
    except NothingThereError:
        return False
