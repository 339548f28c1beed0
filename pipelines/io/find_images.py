"""The images in files, folders and zips: what each file is, which DICOM files belong together, what is refused."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.archive import UnpackedFolder, unpack
from radseg.pipelines.io.ct_series import select_slices
from radseg.pipelines.io.dicom_header import Header, looks_like_dicom, read_header
from radseg.pipelines.io.itk_image import SUFFIXES as ITK_SUFFIXES
from radseg.pipelines.io.itk_image import image_files
from radseg.pipelines.io.radiograph import radiograph_trouble, wants_radiographs
from radseg.pipelines.io.volume import too_few_slices


class InputKind(StrEnum):
    """The kinds of image that can be read."""

    DICOM = "dicom"
    NIFTI = "nifti"
    ITK = "itk"
    PNG = "png"
    JPEG = "jpeg"


_SAID = {
    InputKind.DICOM: "DICOM series",
    InputKind.NIFTI: "NIfTI",
    InputKind.ITK: "NRRD or MHA",
    InputKind.PNG: "PNG",
    InputKind.JPEG: "JPEG",
}
_KIND_BY_SUFFIX = {
    ".nii": InputKind.NIFTI,
    ".nii.gz": InputKind.NIFTI,
    **dict.fromkeys(ITK_SUFFIXES, InputKind.ITK),
    ".png": InputKind.PNG,
    ".jpg": InputKind.JPEG,
    ".jpeg": InputKind.JPEG,
}


@dataclass(frozen=True)
class Case:
    """One image to work on.

    Attributes:
        name: the file's stem or, for DICOM, the first 12 hex digits of SHA-256 of the SeriesInstanceUID (of a
            radiograph, the SOPInstanceUID); unique in one discovery.
        kind: what its files are.
        files: all files that it is read from; one per slice in slice order for a DICOM series.
        source: what the user would call it: the file, the series' folder or the zip.
        series_uid: SeriesInstanceUID of a DICOM case.
        notes: what was corrected when choosing the files.
        unpacked: keeps the folder of an unpacked zip alive.
        instance_uid: SOPInstanceUID of a radiograph in DICOM.
        headers: of the files of a DICOM series, so that reading needn't look into each again.
    """

    name: str
    kind: InputKind
    files: tuple[Path, ...]
    source: Path
    series_uid: str | None = None
    notes: tuple[str, ...] = ()
    unpacked: UnpackedFolder | None = field(default=None, repr=False, compare=False)
    instance_uid: str | None = None
    headers: tuple[Header, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Refusal:
    """An input, or files of one, that can't be used, and why in one line."""

    source: Path
    reason: str
    series_uid: str | None = None


@dataclass(frozen=True)
class Search:
    """What is looked for, the same for every input.

    Attributes:
        modality: DICOM Modality that a series must have; "DX" is every kind of radiograph (DX, CR, RG), each image of
            which is a case of its own.
        min_slices: the fewest slices that make a case.
        series: SeriesInstanceUID of the only series to take, None for all.
        accepts: kinds of image to take.
        exclude: a folder that isn't looked into, such as the one that results are written to.
    """

    modality: str = "CT"
    min_slices: int = 1
    series: str | None = None
    accepts: frozenset[InputKind] = frozenset(InputKind)
    exclude: Path | None = None

    @property
    def said(self) -> str:
        """The kinds in words."""
        said = {**_SAID, InputKind.DICOM: "DICOM radiograph"} if wants_radiographs(self.modality) else _SAID
        return ", ".join(said[kind] for kind in InputKind if kind in self.accepts)


def find_images(roots: Sequence[Path], search: Search) -> Iterator[Case | Refusal]:
    """Find cases, whose names may still collide, in the order in which the first file of each is met.

    Raises:
        InputError: at once, when an input doesn't exist.
    """
    for root in roots:
        if not root.exists():
            raise InputError(f"{root}: no such file or folder; check the path")
    return _find(roots, search)


def _find(roots: Sequence[Path], search: Search, *, in_zip: bool = False) -> Iterator[Case | Refusal]:
    """Cases and refusals in the order in which the first file of each is met."""
    met: list[Refusal | tuple[Path, InputKind] | list[Header] | Path] = []  # a bare path is a zip
    series: dict[str, list[Header]] = {}
    seen: set[Path] = set()
    for root in roots:
        usable = False
        for path in _files(root, search.exclude):
            what = _recognise(path, path == root, search)
            if what is None or (what == "zip" and in_zip):
                continue
            usable = True
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            if isinstance(what, Refusal):
                met.append(what)
            elif what == "zip":
                met.append(path)
            elif isinstance(what, InputKind):
                met.append((path, what))
            elif what.frames > 1:
                met.append([what])
            else:
                members = series.setdefault(what.series_uid or f"in {path.parent}", [])
                if not members:
                    met.append(members)
                members.append(what)
        if not usable:
            met.append(Refusal(root, f"no {search.said} found in {root}; check the folder"))
    for one in met:
        if isinstance(one, Refusal):
            if search.series is None:
                yield one
        elif isinstance(one, list):
            if search.series in (None, one[0].series_uid):
                yield from _from_series(one, search)
            else:
                yield Refusal(one[0].path, "another series was asked for", one[0].series_uid)
        elif isinstance(one, tuple):
            if search.series is None:
                yield _from_file(*one, search)
        else:
            yield from _from_zip(one, search)


def _files(root: Path, exclude: Path | None) -> Iterator[Path]:
    """The root itself, or what lies below it but hidden files and results, sorted; linked folders are entered once."""
    if root.is_file():
        yield root
        return
    entered: set[Path] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        here = Path(folder)
        if here.resolve() in entered:
            below.clear()
            continue
        entered.add(here.resolve())
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        if exclude is not None:
            below[:] = [name for name in below if (here / name).resolve() != exclude.resolve()]
        if {"statistics.json", "preview.png"}.issubset(names):
            continue  # the results of a case, not images
        yield from (here / name for name in sorted(names) if not name.startswith(".") and (here / name).is_file())


def _recognise(path: Path, named: bool, search: Search) -> Header | InputKind | Literal["zip"] | Refusal | None:
    """What a file is: a DICOM header, the kind of another image, a zip, refused, or None to pass it over."""
    lower = path.name.lower()
    kind = next((kind for suffix, kind in _KIND_BY_SUFFIX.items() if lower.endswith(suffix)), None)
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
            reason = "not readable as DICOM; fetch it again" if says_dicom else f"not a known image; give {search.said}"
            return Refusal(path, reason)
        kind = InputKind.DICOM
    if kind not in search.accepts:
        return Refusal(path, f"{_SAID[kind]} isn't taken here; give {search.said}") if named else None
    return header or kind


def _from_file(path: Path, kind: InputKind, search: Search) -> Case | Refusal:
    if kind in (InputKind.PNG, InputKind.JPEG) and search.min_slices > 1:
        return Refusal(path, too_few_slices(1, search.min_slices))
    try:
        files = image_files(path) if kind == InputKind.ITK else (path,)
    except InputError as error:
        return Refusal(path, str(error).removeprefix(f"{path}: "))
    lower = path.name.lower()
    suffix = next(suffix for suffix in _KIND_BY_SUFFIX if lower.endswith(suffix))
    return Case(path.name[: -len(suffix)], kind, files, path)


def _from_series(headers: Sequence[Header], search: Search) -> Iterator[Case | Refusal]:
    uid = headers[0].series_uid
    if wants_radiographs(search.modality):
        yield from _from_radiographs(headers)
        return
    selection = select_slices(headers, modality=search.modality, min_slices=search.min_slices)
    source = _common_source([header.path for header in headers])
    for paths, reason in selection.set_aside:
        many = f"{len(paths)} files of the series set aside: " if len(paths) > 1 else ""
        yield Refusal(_common_source(paths), many + reason, uid)
    if selection.refusal:
        yield Refusal(source, selection.refusal, uid)
    else:
        name = hashlib.sha256((uid or source.name).encode()).hexdigest()[:12]
        chosen = set(selection.files)
        kept = tuple(header for header in headers if header.path in chosen)
        yield Case(name, InputKind.DICOM, selection.files, source, uid, selection.notes, headers=kept)


def _from_radiographs(headers: Sequence[Header]) -> Iterator[Case | Refusal]:
    """Every image a case; those of one series that are refused for one reason, one refusal."""
    refused: dict[str, list[Path]] = {}
    for header in headers:
        trouble = radiograph_trouble(header)
        if trouble:
            refused.setdefault(trouble, []).append(header.path)
            continue
        name = hashlib.sha256((header.instance_uid or header.path.name).encode()).hexdigest()[:12]
        files, uid = (header.path,), header.series_uid
        yield Case(name, InputKind.DICOM, files, header.path, uid, instance_uid=header.instance_uid)
    for reason, paths in refused.items():
        yield Refusal(_common_source(paths), reason, headers[0].series_uid)


def _from_zip(path: Path, search: Search) -> Iterator[Case | Refusal]:
    try:
        folder = unpack(path)
    except InputError as error:
        yield Refusal(path, str(error).removeprefix(f"{path}: "))
        return
    for one in _find([folder.path], search, in_zip=True):
        if isinstance(one, Case):
            name = one.name
            if one.source == folder.path and one.series_uid is None:  # else named after a temporary folder
                name = hashlib.sha256(path.name.encode()).hexdigest()[:12]
            yield replace(one, name=name, source=path, unpacked=folder)
        else:
            inside = "" if one.source == folder.path else f"{one.source.relative_to(folder.path)}: "
            yield replace(one, source=path, reason=inside + one.reason.replace(str(folder.path), str(path)))


def _common_source(paths: Sequence[Path]) -> Path:
    if len(paths) == 1:
        return paths[0]
    return Path(os.path.commonpath([path.parent for path in paths]))
