"""Local copies of remote files and folders, for code that reads paths; they last as long as the run."""

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from radseg.pipelines.errors import ConfigError, InputError, RadsegError
from radseg.pipelines.io.store.errors import NothingThereError
from radseg.pipelines.io.store.read_cache import ReadCache
from radseg.pipelines.io.store.settings import current_storage
from radseg.pipelines.io.store.storage import RemoteFile, list_files
from radseg.pipelines.io.store.url import last_part, place, shown

_AT_ONCE = 8
_LOCK = threading.RLock()
_CACHES: dict[tuple[Path, float], ReadCache] = {}
_SCRATCH: dict[tuple[Path, int], tuple[Path, Any]] = {}
# local file or folder -> the URL that it stands for
_URLS: dict[str, str] = {}
_TROUBLES: dict[Path, str] = {}


def local_copy(value: str | Path, beside: Sequence[str] = ()) -> Path:
    """A path as it is; of a URL, a local file or folder with the same name and content, fetched if need be.

    Args:
        value: path or URL of a file or folder.
        beside: endings of neighbours to fetch with a file if they are there, such as ".sha256".

    Raises:
        InputError: there is nothing at the URL, it can't be fetched, or the cache can't be written.
        ConfigError: credentials are missing or wrong, or a package is missing.
    """
    url = place(value)
    if isinstance(url, Path):
        return url
    is_folder, files = list_files(url)
    neighbours = []
    for ending in () if is_folder else beside:
        path, mark, query = url.partition("?" if url.startswith("http") else "\0")
        # who may read the file itself, and not this one, hasn't got it: S3 tells so of what isn't there
        with suppress(NothingThereError, ConfigError):
            neighbours += list_files(path + ending + mark + query)[1]
    name = last_part(url)
    content = "\n".join(f"{file.name} {file.key}" for file in [*files, *neighbours])
    folder = scratch() / hashlib.sha256(f"{shown(url)}\n{content}".encode()).hexdigest()[:24]
    root = folder / name
    stands_for(root, url)
    fetch_into(root if is_folder else folder, [*files, *neighbours])
    return root


def local_copies(values: Sequence[str | Path]) -> list[Path]:
    """`local_copy` of each, several at a time."""
    if all(isinstance(place(value), Path) for value in values):
        return [Path(value) for value in values]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(local_copy, values))


def fetch_into(folder: Path, files: Sequence[RemoteFile]) -> None:
    """Makes the files that aren't there yet below a folder of `scratch`, several at a time. Raises as `local_copy`."""
    cache = _cache()

    def fetch(file: RemoteFile) -> None:
        target = folder / file.name
        if folder.resolve() not in target.resolve().parents:
            raise InputError(f"{shown(file.url)}: leads out of its folder; rename it")
        if not target.exists():
            cache.get(file, target)

    names = {file.name for file in files}
    for file in files:
        if any(parent.as_posix() in names for parent in PurePosixPath(file.name).parents):
            raise InputError(f"{shown(file.url)}: lies below a file, which only stores can hold; rename either")
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [pool.submit(fetch, file) for file in files]
        try:
            for job in jobs:
                job.result()
        finally:
            for job in jobs:
                job.cancel()


def scratch() -> Path:
    """A folder of this process below the cache's folder, deleted when the process ends or, killed, by the next one.

    Raises:
        ConfigError: it can't be made.
    """
    runs = current_storage().cache_folder / "runs"
    with _LOCK:
        if (runs, os.getpid()) not in _SCRATCH:
            try:
                runs.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sweep(runs)
                folder = Path(tempfile.mkdtemp(dir=runs))
                lock = (folder / ".locking").open("w")
                _locked(lock)
                (folder / ".locking").rename(folder / ".lock")  # seen by others only when it is held
            except OSError as error:
                raise ConfigError(
                    f"{runs}: can't be written ({error.strerror}); choose another folder with --storage#cache_dir DIR"
                ) from error
            _SCRATCH[runs, os.getpid()] = folder, lock
            atexit.register(_forget, folder, os.getpid(), lock)
        return _SCRATCH[runs, os.getpid()][0]


def stands_for(local: Path, url: str) -> None:
    """Notes that what happens to a local file or in a local folder is told to users with this URL."""
    _URLS[str(local)] = shown(url)


def note_fetch_trouble(local: Path, reason: str) -> None:
    """Notes why a local copy isn't there."""
    _TROUBLES[local] = reason


def fetch_trouble(local: Path) -> str | None:
    """Why a local copy isn't there, if it was tried to fetch it."""
    return _TROUBLES.get(local)


def with_urls(text: object) -> str:
    """A text, such as a path or message, in which local copies are called by the URLs that they stand for."""
    said = str(text)
    if any(str(folder) in said for folder, _ in _SCRATCH.values()):
        for folder, url in list(_URLS.items()):
            said = said.replace(folder, url)
    return said


def called(path: Path) -> str:
    """A path as users know it: the URL that it is or stands for, else the path."""
    return str(place(with_urls(path)))


@contextmanager
def urls_in_errors() -> Iterator[None]:
    """Errors that leave this context name URLs instead of their local copies."""
    try:
        yield
    except RadsegError as error:
        said = with_urls(error)
        if said == str(error):
            raise
        raise type(error)(said) from error


def _cache() -> ReadCache:
    settings = current_storage()
    key = settings.cache_folder, settings.cache_limit_gb
    with _LOCK:
        if key not in _CACHES:
            _CACHES[key] = ReadCache(key[0], int(key[1] * 1e9))
        return _CACHES[key]


def _sweep(runs: Path) -> None:
    """Deletes what killed runs left: their locks are free."""
    for folder in runs.iterdir():
        with suppress(OSError), (folder / ".lock").open() as lock:
            if _locked(lock):
                shutil.rmtree(folder, ignore_errors=True)


def _locked(file: Any) -> bool:
    """Locks an open file for this process if no other has; where files can't be locked, nothing is swept."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _forget(folder: Path, owner: int, lock: Any) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
