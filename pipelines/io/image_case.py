"""What a search for images is for and what it gives: cases, and refusals with their reason."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from radseg.pipelines.io.archive import UnpackedFolder
from radseg.pipelines.io.dicom.header import Header
from radseg.pipelines.io.dicom.radiograph import wants_radiographs
from radseg.pipelines.io.itk_image import SUFFIXES as ITK_SUFFIXES


class InputKind(StrEnum):
    """The kinds of image that can be read."""

    DICOM = "dicom"
    NIFTI = "nifti"
    ITK = "itk"
    PNG = "png"
    JPEG = "jpeg"


SAID = {
    InputKind.DICOM: "DICOM series",
    InputKind.NIFTI: "NIfTI",
    InputKind.ITK: "NRRD or MHA",
    InputKind.PNG: "PNG",
    InputKind.JPEG: "JPEG",
}
KIND_BY_SUFFIX = {
    ".nii": InputKind.NIFTI,
    ".nii.gz": InputKind.NIFTI,
    **dict.fromkeys(ITK_SUFFIXES, InputKind.ITK),
    ".png": InputKind.PNG,
    ".jpg": InputKind.JPEG,
    ".jpeg": InputKind.JPEG,
}


@dataclass(frozen=True)
class Folder:
    """A folder as a search found it.

    Attributes:
        path: where it is.
        names: of the files in it.
        unreadable: how many of them seem to be DICOM and can't be read, so that nobody knows whose they are.
    """

    path: Path
    names: frozenset[str]
    unreadable: int = 0


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
        folders: in which the files of a DICOM series lie, so that reading sees whether more have come.
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
    folders: tuple[Folder, ...] = field(default=(), repr=False, compare=False)


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
        said = {**SAID, InputKind.DICOM: "DICOM radiograph"} if wants_radiographs(self.modality) else SAID
        return ", ".join(said[kind] for kind in InputKind if kind in self.accepts)
