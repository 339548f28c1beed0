"""Studies that arrive image by image: kept on disk, handed out when they are whole, picked up again after a crash."""

import errno
import fcntl
import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from radseg.pipelines.errors import ConfigError

_RECORD, _BEGUN = "segmented", "begun"


class Sender(Protocol):
    """A connection that images come over; while it is established more may come."""

    is_established: bool


@dataclass(frozen=True)
class Study:
    """A study to segment.

    Attributes:
        name: 16 hex digits of SHA-256 of its StudyInstanceUID, which is all that is ever said of it.
        folder: where its images are, one DICOM file each.
        instances: names of these images.
        missing: how many images that were segmented earlier have been deleted since; such a study isn't whole.
        resumed: whether these very images were handed out before and never given back as done, so that what there is
            of results is of them.
    """

    name: str
    folder: Path
    instances: frozenset[str]
    missing: int = 0
    resumed: bool = False


class Inbox:
    """Keeps received images by study until they are segmented.

    Each image is written whole or not at all, under names made of hashes, so nothing in an image decides on a path. A
    study's turn comes when no image of it has come for a while and nobody is in the middle of sending it. What a
    process that was killed had received is still there for the next one. After a study is segmented its images stay
    for `keep_seconds`, so that images that come late make a whole study with them; the names of what was segmented
    stay for good (some kB), so that a rest that comes later still isn't mistaken for a study.

    Safe to use from several threads.

    Args:
        folder: made if it isn't there, for this process alone.
        quiet_seconds: for how long no image of a study must have come.
        keep_seconds: for how long images are kept after segmentation; `math.inf` keeps them.
        max_instances: the most images of one study.
        clock: seconds that only go up.

    Raises:
        ConfigError: the folder can't be written, or another process uses it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quiet_seconds: float = 30.0,
        keep_seconds: float = 3600.0,
        max_instances: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("quiet_seconds", quiet_seconds), ("keep_seconds", keep_seconds)):
            if math.isnan(value) or value < 0:
                raise ConfigError(f"{name} is {value}; give 0 or more")
        self.folder = folder
        self._quiet_seconds, self._keep_seconds = quiet_seconds, keep_seconds
        self._max_instances = max_instances
        self._clock = clock
        self._guard = threading.Lock()
        self._names: dict[str, set[str]] = {}  # images on disk, by study
        self._waiting: dict[str, float] = {}  # study to the time of its last image
        self._senders: dict[Sender, str] = {}  # who sends, to the study of their last image
        self._segmented: dict[str, float] = {}  # studies whose images are deleted some day, to the day
        self._in_hand: str | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = _locked(folder / ".lock")
            self._pick_up()
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another listener keeps its images here; choose another inbox") from error
        except OSError as error:
            raise ConfigError(f"{folder}: can't be written ({error.strerror}); choose another inbox") from error

    def close(self) -> None:
        """Lets another process use the folder."""
        self._lock_file.close()

    def keep(self, study_uid: str, instance_uid: str, parts: Iterable[bytes], sender: Sender) -> None:
        """Keeps an image: when this returns it is on disk. One that is there already is replaced.

        Args:
            study_uid: StudyInstanceUID.
            instance_uid: SOPInstanceUID.
            parts: the file's content.
            sender: the connection that it came over.

        Raises:
            OSError: it can't be written, such as to a full disk, or the study has too many images; nothing is left.
        """
        study, instance = _hash(study_uid), _hash(instance_uid)
        folder = self.folder / study
        with self._guard:
            there = self._names.get(study, set())
            if instance not in there and len(there) >= self._max_instances:
                raise OSError(errno.EDQUOT, "too many images in one study")
        folder.mkdir(mode=0o700, exist_ok=True)
        part = folder / f".{instance}.{threading.get_ident()}.part"
        try:
            _write(part, parts)
            with self._guard:
                part.replace(folder / f"{instance}.dcm")
                self._names.setdefault(study, set()).add(instance)
                self._waiting[study] = self._clock()
                self._senders[sender] = study
        finally:
            part.unlink(missing_ok=True)
        _sync(folder)

    def next_study(self) -> Study | None:
        """The study whose turn has come, the one that has waited longest first; it must be given back."""
        with self._guard:
            self._senders = {sender: study for sender, study in self._senders.items() if sender.is_established}
            for name in sorted(self._waiting, key=self._waiting.__getitem__):
                quiet = self._clock() - self._waiting[name] >= self._quiet_seconds
                if not quiet or name in self._senders.values():
                    continue
                del self._waiting[name]
                self._in_hand = name
                return self._hand_out(name, self.folder / name, frozenset(self._names[name]))
        return None

    def _hand_out(self, name: str, folder: Path, instances: frozenset[str]) -> Study:
        segmented, begun = _read_names(folder / _RECORD), _read_names(folder / _BEGUN)
        if not begun:  # the first images handed out; with others than these, results must be replaced
            _try_to_write_names(folder / _BEGUN, instances)
        return Study(name, folder, instances, len(segmented - instances), not segmented and begun == instances)

    def done(self, study: Study) -> None:
        """Gives back a study that was segmented; its images are deleted in due time."""
        with self._guard:
            self._in_hand = None
            if _try_to_write_names(study.folder / _RECORD, study.instances):
                (study.folder / _BEGUN).unlink(missing_ok=True)
                self._segmented[study.name] = time.time() + self._keep_seconds

    def failed(self, study: Study) -> None:
        """Gives back a study that couldn't be segmented; it is handed out again after more images or a restart."""
        with self._guard:
            self._in_hand = None

    def delete_old(self) -> None:
        """Deletes the images of studies that were segmented long enough ago."""
        now = time.time()
        with self._guard:
            for name, day in list(self._segmented.items()):
                if day > now or name in self._waiting or name == self._in_hand:
                    continue
                for instance in _read_names(self.folder / name / _RECORD) & self._names[name]:
                    (self.folder / name / f"{instance}.dcm").unlink(missing_ok=True)
                    self._names[name].discard(instance)
                del self._segmented[name]

    @property
    def waiting(self) -> int:
        """How many studies wait for their turn."""
        with self._guard:
            return len(self._waiting)

    def _pick_up(self) -> None:
        """Looks at what an earlier process left; what it hadn't finished waits for its turn again."""
        for folder in self.folder.iterdir():
            if not folder.is_dir():
                continue
            for part in folder.glob(".*.part"):
                part.unlink(missing_ok=True)
            names = {file.stem for file in folder.glob("*.dcm")}
            if not names:
                continue
            self._names[folder.name] = names
            if names <= _read_names(folder / _RECORD):
                self._segmented[folder.name] = (folder / _RECORD).stat().st_mtime + self._keep_seconds
            else:
                self._waiting[folder.name] = self._clock()


def _locked(path: Path) -> IO[bytes]:
    """The file, open and locked until it is closed.

    Raises:
        BlockingIOError: another process has it locked.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _hash(uid: str) -> str:
    return hashlib.sha256(uid.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _write(path: Path, parts: Iterable[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Waits until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_names(file: Path) -> frozenset[str]:
    try:
        return frozenset(file.read_text().split())
    except FileNotFoundError:
        return frozenset()


def _try_to_write_names(file: Path, names: Iterable[str]) -> bool:
    """Whether there was room for them; where there isn't, a study is segmented once too often, which does no harm."""
    part = file.with_name(f".{file.name}.part")
    try:
        _write(part, ["\n".join(sorted(names)).encode()])
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        return False
    return True
