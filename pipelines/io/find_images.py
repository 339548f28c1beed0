"""The images in files, folders and zips: what each file is, which DICOM files belong together, what is refused."""

import errno
import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.archive import unpack
from radseg.pipelines.io.dicom.ct_series import select_slices
from radseg.pipelines.io.dicom.header import Header, looks_like_dicom, read_header
from radseg.pipelines.io.dicom.radiograph import radiograph_trouble, wants_radiographs
from radseg.pipelines.io.dicom.stacks import stacks_of
from radseg.pipelines.io.image_case import KIND_BY_SUFFIX, SAID, Case, Folder, InputKind, Refusal, Search
from radseg.pipelines.io.in_turn import InTurn, Series
from radseg.pipelines.io.itk_image import image_files
from radseg.pipelines.io.volume import first_line, too_few_slices
from radseg.pipelines.io.walk import Trouble, Visit, Walk

__all__ = ["Case", "InputKind", "Refusal", "Search", "find_images"]

_LATE = (
    "more files of a series whose others were taken already, with files of other series between them: unless they are "
    "copies, its case is incomplete; put its files into one folder, or give its folders one after the other"
)
_NUMBER = re.compile(r"[0-9a-f]*[0-9][0-9a-f]*", re.IGNORECASE)
_UNREADABLE = "not readable as DICOM; fetch it again"
_Found = Refusal | Case | tuple[Path, str] | Series
"""What was met: also a file with its kind, or with "zip"."""


def find_images(
    roots: Sequence[Path],
    search: Search,
    on_progress: Callable[[float], None] | None = None,
    on_passed_over: Callable[[Path], None] | None = None,
) -> Iterator[Case | Refusal]:
    """Find cases, whose names may still collide, in the order in which the first file of each is met.

    The search streams: a folder is listed and its files are opened when its turn comes (`Walk`: its files, then its
    subfolders, numbers in their names counting as numbers), and what it holds is handed on as soon as it is known to
    be whole. A DICOM series is when one more folder with images was read and had no file of it (`InTurn`). Files of
    it that turn up even later, between which other series lie, are a refusal that says so. A single folder is read
    whole before the series in it are known: a huge one costs time and memory for the headers of all its files.
    A radiograph is a case of its own and waits for nothing.

    Args:
        roots: files, folders and zips.
        search: what is looked for.
        on_progress: called before each case or refusal with the share of the search, 0 to 1, that lies behind.
        on_passed_over: called with each file in a folder that is no image of the kinds looked for.

    Raises:
        InputError: at once, when an input doesn't exist or can't be reached.
    """
    for root in roots:
        try:
            root.stat()
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise InputError(f"{root}: can't be read ({error.strerror}); check its permissions") from error
            raise InputError(f"{root}: no such file or folder; check the path") from error
    return _Finder(search, on_progress, on_passed_over).run(roots)


class _Finder:
    """One search on its way: what was met waits here until it can be handed on."""

    def __init__(
        self,
        search: Search,
        on_progress: Callable[[float], None] | None = None,
        on_passed_over: Callable[[Path], None] | None = None,
        *,
        in_zip: bool = False,
    ) -> None:
        self.search = search
        self.on_progress = on_progress
        self.on_passed_over = on_passed_over
        self.in_zip = in_zip
        self.waiting = InTurn[_Found]()
        self.late: set[str] = set()
        self.behind = 0.0

    def run(self, roots: Sequence[Path]) -> Iterator[Case | Refusal]:
        for root, visits in groupby(Walk(roots, self.search.exclude), key=lambda visit: visit.root):
            usable = root is None
            for visit in visits:
                usable = usable or visit.passed_over
                for share in self._met(visit):
                    usable = True
                    yield from self._handed_on(visit.start + (visit.stop - visit.start) * share)
                yield from self._handed_on(visit.stop)
            if not usable and root is not None:
                self.waiting.add(Refusal(root, f"no {self.search.said} found in {root}; check the folder"))
        self.waiting.search_ends()
        yield from self._handed_on(1.0)

    def _met(self, visit: Visit) -> Iterator[float]:
        """Puts what a folder holds among the waiting; yields, for each thing, the share of its files behind."""
        late: dict[str, Header] = {}
        unfit: dict[tuple[str | None, str], list[Path]] = {}
        for trouble in _troubles(visit):
            self.waiting.add(Refusal(trouble.path, trouble.reason))
            yield 0.0
        dicom: set[str] = set()
        others = [path for path in visit.broken_links if not _is_told(path)]
        unreadable = 0
        for number, path in enumerate(visit.files, start=1):
            what = _recognise(path, visit.root is None, self.search)
            if what is None:
                others.append(path)
            if what is None or (what == "zip" and self.in_zip):
                continue
            if isinstance(what, Header):
                dicom.add(_shape(path))
                unreadable += bool(what.damage and what.series_uid is None)
            if isinstance(what, Refusal):
                unreadable += 1
                self.waiting.add(what)
            elif isinstance(what, str):
                self.waiting.add((path, what))
            elif wants_radiographs(self.search.modality):
                trouble_with_it = radiograph_trouble(what)
                if trouble_with_it:
                    unfit.setdefault((what.series_uid, trouble_with_it), []).append(path)
                else:
                    self.waiting.add(_from_radiograph(what))
            elif what.frames > 1:
                self.waiting.add(Series([what], whole=True))
            else:
                series = what.series_uid or f"in {path.parent}"
                if not self.waiting.add_file(series, what):
                    late.setdefault(series, what)
            yield number / len(visit.files)
        for (uid, reason), paths in unfit.items():  # those of one series that are refused for one reason, one refusal
            self.waiting.add(Refusal(_common_source(paths), reason, uid))
        for series in [series for series in late if series not in self.late]:
            self.waiting.add(Refusal(late[series].path.parent, _LATE, late[series].series_uid))
        self.late |= late.keys()
        lost = [path for path in others if _shape(path) in dicom]
        if self.on_passed_over is not None:
            for path in others:
                if _shape(path) not in dicom and path.name.lower() != "dicomdir":
                    self.on_passed_over(path)
        if lost:
            many = f"{len(lost)} files named like the DICOM files beside them: " if len(lost) > 1 else ""
            self.waiting.add(Refusal(_common_source(lost), many + _UNREADABLE))
            yield 1.0
        if visit.root is None or not visit.files:
            self.waiting.folder_ends()
            return
        unreadable += len(lost) + sum(_is_told(path) and _shape(path) in dicom for path in visit.broken_links)
        names = frozenset(path.name for path in visit.files)
        self.waiting.folder_ends(Folder(visit.files[0].parent, names, unreadable))

    def _handed_on(self, reached: float) -> Iterator[Case | Refusal]:
        for found in self.waiting.take():
            # each of those that waited is an equal part of what was walked
            self.behind += (reached - self.behind) / (len(self.waiting) + 1)
            for one in _cases(found, self.search):
                if self.on_progress is not None:
                    self.on_progress(self.behind)
                yield one


def _troubles(visit: Visit) -> Iterator[Trouble]:
    yield from visit.troubles
    for path in visit.broken_links:
        if _is_told(path):
            yield Trouble(path, "a link to nothing; fetch the file that it leads to")


def _is_told(link: Path) -> bool:
    """Whether the name of a link to nothing says that it is an image."""
    return link.name.lower().endswith((*KIND_BY_SUFFIX, ".dcm", ".ima", ".zip"))


def _cases(found: _Found, search: Search) -> Iterator[Case | Refusal]:
    """What was met as cases and refusals; only DICOM and zips can hold the series that was asked for."""
    if isinstance(found, Series):
        first = found.headers[0]
        if search.series in (None, first.series_uid):
            yield from _from_series(found, search)
        else:
            yield Refusal(first.path, "another series was asked for", first.series_uid)
    elif isinstance(found, tuple):
        path, kind = found
        if kind == "zip":
            yield from _from_zip(path, search)
        elif search.series is None:
            yield _from_file(path, InputKind(kind), search)
    elif search.series is None or found.series_uid is not None:
        yield found


def _recognise(path: Path, named: bool, search: Search) -> Header | InputKind | Literal["zip"] | Refusal | None:
    """What a file is: a DICOM header, the kind of another image, a zip, refused, or None to pass it over."""
    lower = path.name.lower()
    kind = next((kind for suffix, kind in KIND_BY_SUFFIX.items() if lower.endswith(suffix)), None)
    if lower.endswith(".zip"):
        return "zip"
    header: Header | None = None
    if kind is None:
        says_dicom = lower.endswith((".dcm", ".ima"))
        try:
            dicom = lower != "dicomdir" and looks_like_dicom(path)
            header = read_header(path) if dicom else None
        except OSError as error:
            return Refusal(path, f"can't be read ({error.strerror}); check its permissions")
        if header is None and not (named or says_dicom):
            return None
        if header is None:
            reason = _UNREADABLE if says_dicom else f"not a known image; give {search.said}"
            return Refusal(path, reason)
        kind = InputKind.DICOM
    if kind not in search.accepts:
        return Refusal(path, f"{SAID[kind]} isn't taken here; give {search.said}") if named else None
    return header or kind


def _from_file(path: Path, kind: InputKind, search: Search) -> Case | Refusal:
    if kind in (InputKind.PNG, InputKind.JPEG) and search.min_slices > 1:
        return Refusal(path, too_few_slices(1, search.min_slices))
    try:
        files = image_files(path) if kind == InputKind.ITK else (path,)
    except InputError as error:
        return Refusal(path, str(error).removeprefix(f"{path}: "))
    except (OSError, ValueError) as error:
        return Refusal(path, f"can't be read ({first_line(error)}); check its permissions and its header")
    lower = path.name.lower()
    suffix = next(suffix for suffix in KIND_BY_SUFFIX if lower.endswith(suffix))
    return Case(_printable(path.name[: -len(suffix)]), kind, files, path)


def _from_series(series: Series, search: Search) -> Iterator[Case | Refusal]:
    """Each stack of a series a case, all of one name."""
    headers = series.headers
    uid = headers[0].series_uid
    stacks = stacks_of(headers, search.modality)
    unreadable = sum(folder.unreadable for folder in series.folders)
    files = "files" if unreadable > 1 else "file"
    doubt = (f"{unreadable} unreadable {files} in its folder: slices may be missing",) if unreadable else ()
    for number, stack in enumerate(stacks, start=1):
        selection = select_slices(stack, modality=search.modality, min_slices=search.min_slices)
        source = _common_source([header.path for header in headers])
        for paths, reason in selection.set_aside:
            many = f"{len(paths)} files of the series set aside: " if len(paths) > 1 else ""
            yield Refusal(_common_source(paths), many + reason, uid)
        which = f"stack {number} of {len(stacks)} in its series" if len(stacks) > 1 else ""
        if selection.refusal:
            yield Refusal(source, f"{which}: {selection.refusal}" if which else selection.refusal, uid)
        else:
            name = hashlib.sha256((uid or source.name).encode(errors="surrogateescape")).hexdigest()[:12]
            chosen = set(selection.files)
            kept = tuple(header for header in stack if header.path in chosen)
            notes = (*((which,) if which else ()), *doubt, *selection.notes)
            folders = tuple(series.folders)
            yield Case(name, InputKind.DICOM, selection.files, source, uid, notes, headers=kept, folders=folders)


def _from_radiograph(header: Header) -> Case:
    name = hashlib.sha256((header.instance_uid or header.path.name).encode(errors="surrogateescape")).hexdigest()[:12]
    return Case(name, InputKind.DICOM, (header.path,), header.path, header.series_uid, instance_uid=header.instance_uid)


def _from_zip(path: Path, search: Search) -> Iterator[Case | Refusal]:
    try:
        folder = unpack(path)
    except InputError as error:
        yield Refusal(path, str(error).removeprefix(f"{path}: "))
        return
    for one in _Finder(search, in_zip=True).run([folder.path]):
        if isinstance(one, Case):
            name = one.name
            if one.source == folder.path and one.series_uid is None:  # else named after a temporary folder
                name = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:12]
            yield replace(one, name=name, source=path, unpacked=folder)
        else:
            inside = "" if one.source == folder.path else f"{one.source.relative_to(folder.path)}: "
            yield replace(one, source=path, reason=inside + one.reason.replace(str(folder.path), str(path)))


def _shape(path: Path) -> str:
    """A file's name but for the numbers, decimal or hexadecimal, in which those of a series differ."""
    return _NUMBER.sub("0", path.name)


def _common_source(paths: Sequence[Path]) -> Path:
    if len(paths) == 1:
        return paths[0]
    folders = {path.parent for path in paths}
    if len({folder.is_absolute() for folder in folders}) > 1:
        folders = {folder.absolute() for folder in folders}
    return Path(os.path.commonpath(folders))


def _printable(name: str) -> str:
    """A name that can be written as UTF-8 and shown: bytes that aren't UTF-8, and control characters, become "_"."""
    return "".join("_" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name)
