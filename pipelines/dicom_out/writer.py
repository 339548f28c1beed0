"""Which DICOM files a case gets beside its mask, written into its folder and sent on."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.segments import segments_of
from radseg.pipelines.dicom_out.send import check_address, send_files
from radseg.pipelines.dicom_out.source import read_source
from radseg.pipelines.engine import Prediction
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import Volume

FILES = {"dicom_seg": "segmentation.dcm", "dicom_rtstruct": "rtstruct.dcm", "dicom_sr": "report.dcm"}
"""Output type → file in the case's folder; "nifti" is always written."""

SEG_TYPES = ("binary", "labelmap", "fractional")


class DicomOut:
    """Writes what is wanted in DICOM of each case that came from DICOM.

    Args:
        output_type: nifti, dicom_seg, dicom_rtstruct, dicom_sr: one, a list, or several with commas between them.
        seg_type: binary, labelmap or fractional: the kind of segmentation.
        send_to: `dicom://AET@HOST:PORT` or `dicomweb+https://HOST/PATH`: where the files go once they are written.
        deidentify: take patient, study and institution out of the files, and name cases by a keyed hash; a path is
            that of the file with the key, True the user's own key, made when first needed.
        bundle_root: folder of the bundle, for what its labels are in coded terms.
        labels: names of the labels 1, 2, ….

    Raises:
        ConfigError: an unknown type, an address that isn't one, or a key that can't be used.
    """

    def __init__(
        self,
        output_type: str | Sequence[str] = "nifti",
        seg_type: str = "binary",
        send_to: str | None = None,
        deidentify: bool | str | None = None,
        bundle_root: str | Path = ".",
        labels: Sequence[str] = (),
    ) -> None:
        wanted = [one.strip() for one in output_type.split(",")] if isinstance(output_type, str) else list(output_type)
        unknown = [one for one in wanted if one not in ("nifti", *FILES)]
        if unknown or not wanted:
            raise ConfigError(f"output_type {', '.join(unknown) or 'is empty'}: give nifti, {', '.join(FILES)}")
        if seg_type not in SEG_TYPES:
            raise ConfigError(f"seg_type {seg_type!r}: give {', '.join(SEG_TYPES)}")
        if send_to is not None:
            check_address(send_to)
            wanted = wanted if any(one in FILES for one in wanted) else ["dicom_seg"]
        self.wanted = tuple(one for one in FILES if one in wanted)
        self.seg_type = seg_type
        self.send_to = send_to
        self.bundle_root = bundle_root
        self.labels = tuple(labels)
        self.key = _key(deidentify)

    @cached_property
    def deidentifier(self) -> Any:
        """What takes identities out; None when that isn't wanted."""
        if self.key is None:
            return None
        from radseg.pipelines.dicom_out.deidentify import Deidentifier

        return Deidentifier(self.key)

    def hidden(self, text: str) -> str:
        """The text as it may be told: itself, or its keyed hash in hex where identities are taken out."""
        return text if self.deidentifier is None else str(self.deidentifier.pseudonym(text))

    def files(self, case: Case) -> set[str]:
        """Names of the files that a case is to get."""
        if case.kind != InputKind.DICOM:
            return set()
        radiograph = case.instance_uid is not None  # has no place in the patient that contours could lie at
        return {FILES[one] for one in self.wanted if not (radiograph and one == "dicom_rtstruct")}

    def recorded(self, case: Case) -> dict[str, str]:
        """What the manifest has of the kind of a case's files, so that a wish for another kind is noticed."""
        return {"seg_type": self.seg_type} if FILES["dicom_seg"] in self.files(case) else {}

    def write(
        self, folder: Path, case: Case, volume: Volume, prediction: Prediction, statistics: Mapping[str, Any]
    ) -> None:
        """Writes the case's files.

        Raises:
            InputError: the images lack what the files need.
            ConfigError: the bundle doesn't say what its labels are in coded terms.
        """
        names = self.files(case)
        if not names:
            return
        source = read_source(case)
        segments = segments_of(self.bundle_root, self.labels)
        finding = Finding(prediction.mask, volume.affine_ras, source, segments, statistics, prediction.probability)
        for name, dataset in self._datasets(finding, names):
            finished = dataset if self.deidentifier is None else self.deidentifier.apply(dataset)
            finished.save_as(folder / name, enforce_file_format=True)

    def _datasets(self, finding: Finding, names: set[str]) -> Any:
        segmentation = None
        if FILES["dicom_seg"] in names:
            from radseg.pipelines.dicom_out.segmentation import segmentation as segmentation_of

            segmentation = segmentation_of(finding, self.seg_type)
            yield FILES["dicom_seg"], segmentation
        if FILES["dicom_rtstruct"] in names:
            from radseg.pipelines.dicom_out.rtstruct import rtstruct

            yield FILES["dicom_rtstruct"], rtstruct(finding)
        if FILES["dicom_sr"] in names:
            from radseg.pipelines.dicom_out.structured_report import report

            yield FILES["dicom_sr"], report(finding, segmentation)

    def send(self, folder: Path, case: Case) -> bool:
        """Sends a case's files where they are wanted; whether there was anything to send.

        Raises:
            InputError: the archive can't be reached or doesn't take a file.
        """
        files = [folder / name for name in sorted(self.files(case))]
        if self.send_to is None or not files:
            return False
        try:
            send_files(files, self.send_to)
        except InputError as error:
            raise InputError(f"{error}; the files are kept, run again to send them") from error
        return True


def _key(deidentify: bool | str | None) -> bytes | None:
    if deidentify is False or deidentify is None:
        return None
    from radseg.pipelines.dicom_out.deidentify import read_key

    return bytes(read_key(None if deidentify is True else Path(deidentify)))
