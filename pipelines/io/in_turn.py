"""Images in the order in which they are met, each DICOM series when its files are together."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from radseg.pipelines.io.dicom.header import Header
from radseg.pipelines.io.image_case import Folder

Ready = TypeVar("Ready")


@dataclass
class Series:
    """Files of one DICOM series, or one multi-frame file.

    Attributes:
        headers: of its files, as they were met.
        folders: in which they lie, as far as those were read to their end.
        whole: whether all of its files were met.
    """

    headers: list[Header]
    folders: list[Folder] = field(default_factory=list)
    whole: bool = False


class InTurn(Generic[Ready]):
    """Keeps what is met until it can be handed on: series whose files may still come, and what was met after them.

    The rule: **a series is whole when a further folder with something in it that counts was read, and no file of the
    series was there**, or when the search ends. So files of one series may lie in one folder or in folders that are
    read one after the other, and several series may share folders; with a folder for each series, each is handed on
    when the next one's folder was read. What was met later waits for what was met before.

    Memory grows with the series of two folders, not with the search: of a series that was handed on, only its UID is
    kept, so that a file of it that turns up later is known as such.
    """

    def __init__(self) -> None:
        self._waiting: deque[Series | Ready] = deque()
        self._open: dict[str, Series] = {}
        self._here: set[str] = set()
        self._handed_on: set[str] = set()
        self._counts = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, item: Ready) -> None:
        """Something that needs no other file; it can be handed on when what was met before it is."""
        self._counts = True
        self._waiting.append(item)

    def add_file(self, series: str, header: Header) -> bool:
        """A file of a series; False if that series was handed on already."""
        self._counts = True
        if series in self._handed_on:
            return False
        if series not in self._open:
            self._open[series] = Series([])
            self._waiting.append(self._open[series])
        self._open[series].headers.append(header)
        self._here.add(series)
        return True

    def folder_ends(self, folder: Folder | None = None) -> None:
        """Everything in a folder, or all of the files that were named one by one, was added."""
        if self._counts:
            self._close(self._open.keys() - self._here)
        if folder is not None:
            for series in self._here:
                self._open[series].folders.append(folder)
        self._here = set()
        self._counts = False

    def search_ends(self) -> None:
        """There are no more folders."""
        self._close(set(self._open))

    def take(self) -> Iterator[Ready | Series]:
        """What can be handed on now, first met first; all files of a series together."""
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, Series):
                if not first.whole:
                    return
                self._waiting.popleft()
                yield first
            else:
                self._waiting.popleft()
                yield first

    def _close(self, series: set[str]) -> None:
        for one in series:
            self._open.pop(one).whole = True
        self._handed_on |= series
