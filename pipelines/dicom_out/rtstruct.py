"""A mask as RT Structure Set (DICOM PS3.3 A.19): a region of interest a label, contours on the source's own frames."""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ImplicitVRLittleEndian, RTStructureSetStorage

from radseg.pipelines.dicom_out.algorithm import MANUFACTURER, NOT_A_DEVICE, coded, made_by, version
from radseg.pipelines.dicom_out.contours import outlines
from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.identity import identity_of, inherit, series_number
from radseg.pipelines.dicom_out.referenced import distinct_frames, instance_uid, sop_class
from radseg.pipelines.dicom_out.segments import Segment
from radseg.pipelines.dicom_out.source import SourceFrame, values_on_frames
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.arrangement import Slice
from radseg.pipelines.io.dicom.header import quiet_pydicom

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, retired, which RTReferencedStudySequence asks for
_FIRST_SERIES_NUMBER = 2000
_CONTOUR_DATA = Tag("ContourData")


def rtstruct(finding: Finding) -> FileDataset:
    """The finding as RT Structure Set Storage, in Implicit VR: in Explicit VR a contour could be at most 64 KiB long.

    Contours follow the borders of the pixels of the source's own frames, tilted and unevenly spaced ones included, in
    mm in DICOM's patient axes (LPS); see `outlines` for how holes are kept. A pixel is inside when its centre is. A
    label that is nowhere has a region of interest without ContourSequence.

    Raises:
        InputError: the source is a radiograph, which has no place in the patient, or can't be referred to.
    """
    if finding.source.is_radiograph:
        raise InputError(
            f"{finding.source.frames[0].path}: a radiograph has no frame of reference for contours to lie in; "
            "ask for dicom_seg instead"
        )
    with quiet_pydicom():
        return _structure_set(finding)


def _structure_set(finding: Finding) -> FileDataset:
    dataset = _file(finding.uid("rtstruct"))
    identity = identity_of(finding.source)
    inherit(dataset, identity)
    now = datetime.datetime.now()
    dataset.Modality, dataset.InstanceNumber = "RTSTRUCT", 1
    dataset.SeriesNumber = series_number(identity, _FIRST_SERIES_NUMBER)
    dataset.SeriesInstanceUID = finding.uid("rtstruct series")
    dataset.SeriesDescription = f"Contours. {NOT_A_DEVICE}"
    dataset.OperatorsName = ""
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, made_by(finding.statistics)
    dataset.SoftwareVersions = version(finding.statistics)
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = identity.FrameOfReferenceUID, ""
    dataset.StructureSetLabel = made_by(finding.statistics)[:16]
    dataset.StructureSetName = made_by(finding.statistics)
    dataset.StructureSetDescription = f"Research only. {NOT_A_DEVICE}."
    dataset.StructureSetDate = dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = now.strftime("%H%M%S")
    dataset.ApprovalStatus = "UNAPPROVED"

    frames = distinct_frames(finding.source)
    images = _references(finding, frames)
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(identity, images)]
    dataset.StructureSetROISequence = [_region(segment, finding, identity) for segment in finding.segments]
    contours = _contours(finding, frames, images)
    dataset.ROIContourSequence = [_roi_contours(segment, contours[segment.number]) for segment in finding.segments]
    dataset.RTROIObservationsSequence = [_observation(segment) for segment in finding.segments]
    return dataset


def _file(uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, uid
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ImplicitVRLittleEndian, PYDICOM_IMPLEMENTATION_UID
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, uid
    return dataset


def _references(finding: Finding, frames: Sequence[SourceFrame]) -> list[Dataset]:
    """Image SOP Instance Reference (PS3.3 10.3) of each frame."""
    index = {path: number for number, path in enumerate(finding.source.paths)}
    references = []
    for frame in frames:
        file = index[frame.path]
        reference = _item(
            ReferencedSOPClassUID=sop_class(finding.source, file),
            ReferencedSOPInstanceUID=instance_uid(finding.source, file),
        )
        if finding.source.is_multi_frame:
            reference.ReferencedFrameNumber = frame.number + 1
        references.append(reference)
    return references


def _frame_of_reference(identity: Dataset, images: Sequence[Dataset]) -> Dataset:
    instances = {str(image.ReferencedSOPInstanceUID): image for image in images}
    of_series = [
        _item(ReferencedSOPClassUID=image.ReferencedSOPClassUID, ReferencedSOPInstanceUID=uid)
        for uid, image in instances.items()
    ]
    series = _item(SeriesInstanceUID=identity.SeriesInstanceUID, ContourImageSequence=of_series)
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=identity.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=identity.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _region(segment: Segment, finding: Finding, identity: Dataset) -> Dataset:
    return _item(
        ROINumber=segment.number,
        ReferencedFrameOfReferenceUID=identity.FrameOfReferenceUID,
        ROIName=segment.name[:64],
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=f"{made_by(finding.statistics)} {version(finding.statistics)}"[:64],
    )


def _contours(finding: Finding, frames: Sequence[SourceFrame], images: Sequence[Dataset]) -> dict[int, list[Dataset]]:
    """Items of ContourSequence of each segment's number."""
    found: dict[int, list[Dataset]] = {segment.number: [] for segment in finding.segments}
    planes = values_on_frames(finding.mask, finding.affine_ras, frames)
    for frame, plane, image in zip(frames, planes, images, strict=True):
        assert frame.plane is not None
        counts = np.bincount(plane.ravel(), minlength=256)
        for number, items in found.items():
            if counts[number]:
                items += [_contour(_to_lps(points, frame.plane), image) for points in outlines(plane == number)]
    return found


def _to_lps(points: npt.NDArray[np.float64], plane: Slice) -> npt.NDArray[np.float64]:
    """(points, 2) of column and row → (points, 3) in mm, PS3.3 C.7.6.2.1.1."""
    between_rows, between_columns = plane.pixel_spacing_mm
    along_row = np.multiply(plane.row_direction, between_columns)
    along_column = np.multiply(plane.column_direction, between_rows)
    placed: npt.NDArray[np.float64] = points @ np.array([along_row, along_column]) + np.array(plane.position_mm)
    return placed


def _contour(points_lps: npt.NDArray[np.float64], image: Dataset) -> Dataset:
    contour = _item(
        ContourImageSequence=[image], ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(points_lps)
    )
    # 0.1 µm; encoded already, since pydicom takes longer to make an object of each number than all the rest takes
    text = "\\".join(f"{value:.4f}" for value in points_lps.ravel().tolist()).encode()
    text += b" " * (len(text) % 2)
    contour[_CONTOUR_DATA] = RawDataElement(_CONTOUR_DATA, "DS", len(text), text, 0, True, True)
    contour.set_original_encoding(True, True, default_encoding)
    return contour


def _roi_contours(segment: Segment, contours: list[Dataset]) -> Dataset:
    item = _item(ROIDisplayColor=list(segment.colour_rgb), ReferencedROINumber=segment.number)
    if contours:
        item.ContourSequence = contours
    return item


def _observation(segment: Segment) -> Dataset:
    return _item(
        ObservationNumber=segment.number,
        ReferencedROINumber=segment.number,
        ROIObservationLabel=segment.name[:16],
        RTROIIdentificationCodeSequence=[coded(segment.kind)],
        RTROIInterpretedType="ORGAN" if segment.is_anatomy else "",
        ROIInterpreter="",
    )


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
