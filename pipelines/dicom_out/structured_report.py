"""A case's numbers as DICOM Structured Report: Measurement Report, TID 1500 of PS3.16."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from radseg.pipelines.dicom_out.algorithm import MANUFACTURER, NOT_A_DEVICE, coded, made_by, version
from radseg.pipelines.dicom_out.finding import Finding, made_uid
from radseg.pipelines.dicom_out.identity import identity_of, inherit, series_number
from radseg.pipelines.dicom_out.referenced import distinct_frames, instance_uid, sop_class
from radseg.pipelines.dicom_out.segments import Segment
from radseg.pipelines.dicom_out.source import SourceFrame, values_on_frames
from radseg.pipelines.io.dicom.header import quiet_pydicom

OWN_CODES = "99RADSEG"
"""Coding scheme of the numbers that the standard has no code for (PS3.16 8.2: private schemes begin with 99)."""

_RATIO = codes.UCUM.NoUnits
_LABEL_MEASURES: Mapping[str, tuple[Any, Any]] = {
    "volume_ml": (codes.SCT.Volume, Code("ml", "UCUM", "milliliter")),
    "area_mm2": (codes.SCT.Area, codes.UCUM.SquareMillimeter),
    "voxels": (
        Code("voxels", OWN_CODES, "Number of voxels or pixels"),
        Code("{voxels}", "UCUM", "voxels"),
    ),
    "share_of_image": (Code("share_of_image", OWN_CODES, "Share of the image's pixels"), _RATIO),
}
_CASE_MEASURES: Mapping[str, tuple[Any, Any]] = {
    "share_of_slices": (Code("share_of_slices", OWN_CODES, "Share of axial slices with any label"), _RATIO),
    "share_of_lung": (Code("share_of_lung", OWN_CODES, "Share of the lung mask inside any label"), _RATIO),
    "confidence": (Code("confidence", OWN_CODES, "Mean certainty of labelled voxels or pixels"), _RATIO),
}
WARNING = Code("warning", OWN_CODES, "Warning")
_SHARE_OF_LUNGS = Code("share_of_lungs", OWN_CODES, "Share of both lung fields together")
_SIDES = {"right": codes.SCT.Right, "left": codes.SCT.Left}
_FIRST_SERIES_NUMBER = 3000


class _Report(sr.ComprehensiveSR):
    def copy_patient_and_study_information(self, dataset: Dataset) -> None:
        """What highdicom can do for source images of SOP classes that it knows only."""
        inherit(self, dataset)


def report(finding: Finding, segmentation: Dataset | None = None) -> sr.ComprehensiveSR:
    """The numbers of `finding.statistics` as Comprehensive SR.

    Each label has a measurement group of volume (TID 1411) or, on a radiograph, area (TID 1410), which refers to its
    segment in the segmentation and to the source images that it lies on. A label that is nowhere, and every label when
    there is no segmentation, has a group without a region (TID 1501). Numbers of the case (shares of slices or lungs,
    confidence) have groups of their own, its warnings are texts beside the comment. An area is said only where
    statistics have one, that is where the header gives the size of a pixel; it is the area of the projection, which the
    comment says.

    Args:
        finding: with statistics as `measure` makes them.
        segmentation: the SEG object of the same finding.

    Raises:
        InputError: an image that nothing can refer to.
    """
    with quiet_pydicom():
        identity = identity_of(finding.source)
        images = list(_images(finding, identity))
        content = _content(finding, segmentation)
        name = made_by(finding.statistics)
        return _Report(
            evidence=[*images, *([_evidence(segmentation)] if segmentation is not None else [])],
            content=content,
            series_instance_uid=finding.uid("report series"),
            series_number=series_number(identity, _FIRST_SERIES_NUMBER),
            sop_instance_uid=finding.uid("report" if segmentation is None else f"report {segmentation.SOPInstanceUID}"),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=name,
            software_versions=version(finding.statistics),
            series_description=f"Measurements. {NOT_A_DEVICE}",
            is_complete=True,
            specific_character_set="ISO_IR 192",
            coding_schemes=[
                CodingSchemeIdentificationItem(
                    OWN_CODES, name="radseg's own codes", responsible_organization=MANUFACTURER
                )
            ],
        )


def _images(finding: Finding, identity: Dataset) -> Iterator[Dataset]:
    """The source's files as evidence, each with the patient and study."""
    for file in range(len(finding.source.headers)):
        image = Dataset()
        inherit(image, identity)
        image.SeriesInstanceUID = identity.SeriesInstanceUID
        image.SOPClassUID, image.SOPInstanceUID = sop_class(finding.source, file), instance_uid(finding.source, file)
        yield image


def _evidence(segmentation: Dataset) -> Dataset:
    evidence = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"):
        setattr(evidence, keyword, segmentation[keyword].value)
    return evidence


def _content(finding: Finding, segmentation: Dataset | None) -> Dataset:
    statistics = finding.statistics
    name = made_by(statistics)
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=made_uid("device", *(statistics.get(key, "") for key in ("bundle", "bundle_version", "weights_sha256"))),
        name=name,
        manufacturer_name=MANUFACTURER,
        model_name=name,
    )
    radiograph = finding.source.is_radiograph
    template = sr.MeasurementReport(
        observation_context=sr.ObservationContext(sr.ObserverContext(codes.DCM.Device, device)),
        procedure_reported=codes.cid100.XRUnspecifiedBodyRegion if radiograph else codes.cid100.CTUnspecifiedBodyRegion,
        imaging_measurements=[*_label_groups(finding, segmentation), *_case_groups(finding)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    comment = f"Research only. {NOT_A_DEVICE}. Made by {name} {version(statistics)} without review."
    if radiograph:
        comment += " Areas are those of the projection on the image, by the pixel spacing that its header gives."
    remarks = sr.ContainerContentItem(
        sr.CodedConcept("C0034375", "UMLS", "Qualitative Evaluations"),
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )
    texts = [(codes.DCM.Comment, comment), *((WARNING, warning) for warning in statistics.get("warnings", ()))]
    remarks.ContentSequence = [
        sr.TextContentItem(concept, text, relationship_type=sr.RelationshipTypeValues.CONTAINS)
        for concept, text in texts
    ]
    root: Dataset = template[0]
    root.ContentSequence.append(remarks)
    return root


def _label_groups(finding: Finding, segmentation: Dataset | None) -> Iterator[Any]:
    touched = _frames_of_labels(finding)
    for segment in finding.segments:
        row = finding.statistics["labels"][segment.name]
        common = {
            "tracking_identifier": _tracking(finding, segment.name),
            "finding_category": coded(segment.category),
            "finding_type": coded(segment.kind),
            "finding_sites": [sr.FindingSite(coded(segment.site))] if segment.site else None,
            "algorithm_id": _algorithm(finding),
            "measurements": _measurements(row, _LABEL_MEASURES),
        }
        yield _group(finding, segment, segmentation, touched[segment.number], common)


def _group(
    finding: Finding, segment: Segment, segmentation: Dataset | None, frames: Sequence[SourceFrame], common: Any
) -> Any:
    if segmentation is None or not frames:
        of_images = [sr.SourceImageForMeasurementGroup(*where) for where in _where(finding, frames)]
        return sr.MeasurementsAndQualitativeEvaluations(**common, source_images=of_images or None)
    which = (segmentation.SOPClassUID, segmentation.SOPInstanceUID)
    of_images = [sr.SourceImageForSegmentation(*where) for where in _where(finding, frames)]
    if finding.source.is_radiograph:
        number = _segmentation_frame(segmentation, segment.number)
        region = sr.ReferencedSegmentationFrame(*which, number or 1, segment.number, of_images[0])
        # one of both alone may say which segment (PS3.3 C.18.4); highdicom writes both
        del region[0].ReferencedSOPSequence[0]["ReferencedSegmentNumber" if number else "ReferencedFrameNumber"]
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(**common, referenced_segment=region)
    region = sr.ReferencedSegment(*which, segment.number, source_images=of_images)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(**common, referenced_segment=region)


def _case_groups(finding: Finding) -> Iterator[Any]:
    """Groups of what statistics say of all labels together."""
    statistics = finding.statistics
    of_case = _measurements(statistics, _CASE_MEASURES)
    if of_case:
        yield sr.MeasurementsAndQualitativeEvaluations(
            _tracking(finding, "all labels"), algorithm_id=_algorithm(finding), measurements=of_case
        )
    for side, row in statistics.get("lungs", {}).items():
        yield sr.MeasurementsAndQualitativeEvaluations(
            _tracking(finding, f"{side} lung"),
            finding_type=codes.SCT.Lung,
            finding_sites=[sr.FindingSite(codes.SCT.Lung, laterality=_SIDES[side])],
            algorithm_id=_algorithm(finding),
            measurements=_measurements(row, {"share_of_lungs": (_SHARE_OF_LUNGS, _RATIO)}),
        )


def _measurements(row: Mapping[str, Any], known: Mapping[str, tuple[Any, Any]]) -> list[sr.Measurement]:
    return [sr.Measurement(name, row[key], unit) for key, (name, unit) in known.items() if row.get(key) is not None]


def _tracking(finding: Finding, what: str) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(finding.uid(f"tracking {what}"), f"{made_by(finding.statistics)} {what}")


def _algorithm(finding: Finding) -> sr.AlgorithmIdentification:
    weights = finding.statistics.get("weights_sha256")
    return sr.AlgorithmIdentification(
        made_by(finding.statistics),
        version(finding.statistics),
        parameters=[f"weights SHA-256 {weights}"] if weights else None,
        family=codes.cid7162.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )


def _frames_of_labels(finding: Finding) -> dict[int, list[SourceFrame]]:
    """The source frames on which each segment's label is."""
    frames = distinct_frames(finding.source)
    found: dict[int, list[SourceFrame]] = {segment.number: [] for segment in finding.segments}
    for frame, plane in zip(frames, values_on_frames(finding.mask, finding.affine_ras, frames), strict=True):
        for number in found:
            if (plane == number).any():
                found[number].append(frame)
    return found


def _where(finding: Finding, frames: Sequence[SourceFrame]) -> Iterator[tuple[str, str, list[int] | None]]:
    """SOP class, SOP instance and, in a multi-frame file, numbers of the frames."""
    source = finding.source
    for file, path in enumerate(source.paths):
        numbers = [frame.number + 1 for frame in frames if frame.path == path]
        if numbers:
            yield sop_class(source, file), instance_uid(source, file), numbers if source.is_multi_frame else None


def _segmentation_frame(segmentation: Dataset, number: int) -> int | None:
    """Number of the frame in which a segment of a radiograph lies; None in a label map, whose one frame has all."""
    for index, group in enumerate(segmentation.PerFrameFunctionalGroupsSequence, start=1):
        identification = group.get("SegmentIdentificationSequence")
        if identification and identification[0].ReferencedSegmentNumber == number:
            return index
    return None
