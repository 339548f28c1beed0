"""Structured reports: the numbers of statistics.json, in coded terms, tied to the segments that they are of."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import finding_factory as factory
import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from radseg.pipelines.dicom_out.deidentify import Deidentifier
from radseg.pipelines.dicom_out.segmentation import segmentation
from radseg.pipelines.dicom_out.segments import Code, Segment
from radseg.pipelines.dicom_out.structured_report import report
from radseg.pipelines.io import Volume
from radseg.pipelines.measure import LabelVolumes, LesionBurden, LungFields

SHAPE = (20, 16, 6)
LUNG = Segment(
    1, "lung", Code("91723000", "SCT", "Anatomical Structure"), Code("39607008", "SCT", "Lung"), None, (9, 9, 9)
)
SEGMENT_OUTSIDE_SEG = "Shall not be present for Referenced SOP Class that is not segmentation"
"""The validator's release doesn't know Label Map Segmentation Storage, so not that it has segments."""


@pytest.fixture
def ct(tmp_path: Path) -> Any:
    """A CT with both labels on all slices but the third."""
    mask = factory.blobs(SHAPE)
    mask[:, :, 2] = 0
    return factory.finding(factory.only_case(factory.series(tmp_path / "ct", SHAPE)), mask)


def radiograph(folder: Path, segments: Any, statistics: Any, mask: np.ndarray, **attributes: Any) -> Any:
    """A finding on a radiograph, measured by the bundle's own statistics."""
    path = factory.dicom.write_radiograph(
        folder / "x.dcm", np.arange(mask.size).reshape(mask.shape[1::-1]) % 4000, **attributes
    )
    affine = np.diag([-0.2, -0.3, 1, 1])
    volume = Volume(mask.astype(np.float32), affine, "grey", (), bool(attributes), True)
    numbers = {**factory.PROVENANCE, **statistics([one.name for one in segments])(mask, volume, "case")}
    return factory.finding(factory.only_case(path, "DX"), mask, segments, numbers)


def groups(read: Dataset) -> list[dict[str, Any]]:
    """Each measurement group as names and values, read without highdicom."""
    (measurements,) = (one for one in read.ContentSequence if _name(one) == "Imaging Measurements")
    return [_group(one) for one in measurements.ContentSequence]


def _group(container: Dataset) -> dict[str, Any]:
    said: dict[str, Any] = {"images": []}
    for item in container.ContentSequence:
        name = _name(item)
        if item.ValueType == "NUM":
            (value,) = item.MeasuredValueSequence
            said[name] = (float(value.NumericValue), value.MeasurementUnitsCodeSequence[0].CodeValue)
        elif item.ValueType == "CODE":
            said[name] = item.ConceptCodeSequence[0].CodeValue
        elif item.ValueType == "IMAGE":
            said["images"].append((name, item.ReferencedSOPSequence[0]))
        else:
            said[name] = item.get("TextValue") or item.get("UID")
    return said


def _name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def test_volumes_are_those_of_the_statistics(ct: Any, tmp_path: Path) -> None:
    statistics = json.loads(json.dumps(ct.statistics))
    read = factory.read_back(report(ct, segmentation(ct)), tmp_path / "report.dcm")
    found = groups(read)
    assert [one["Volume"] for one in found] == [
        (statistics["labels"][name]["volume_ml"], "ml") for name in ("vertebra", "fractured vertebra")
    ]
    assert [one["Number of voxels or pixels"][0] for one in found] == [
        statistics["labels"][name]["voxels"] for name in ("vertebra", "fractured vertebra")
    ]


def test_labels_are_named_in_coded_terms(ct: Any, tmp_path: Path) -> None:
    read = factory.read_back(report(ct, segmentation(ct)), tmp_path / "report.dcm")
    vertebra, fracture = groups(read)
    assert (vertebra["Finding category"], vertebra["Finding"], vertebra["Finding Site"]) == (
        "91723000", "51282000", "51282000"
    )  # fmt: skip
    assert (fracture["Finding"], fracture["Finding Site"]) == ("125605004", "51282000")
    assert (vertebra["Algorithm Name"], vertebra["Algorithm Version"]) == ("radseg spine", "0.1.0")


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_each_group_refers_to_its_segment_and_the_slices_it_lies_on(ct: Any, tmp_path: Path, kind: Any) -> None:
    made = segmentation(ct, kind)
    read = factory.read_back(report(ct, made), tmp_path / "report.dcm")
    on_slices = [header.SOPInstanceUID for k, header in enumerate(ct.source.headers) if k != 2]
    for number, group in enumerate(groups(read), start=1):
        (what, segment), *sources = group["images"]
        assert what == "Referenced Segment"
        assert (segment.ReferencedSOPInstanceUID, segment.ReferencedSegmentNumber) == (made.SOPInstanceUID, number)
        assert segment.ReferencedSOPClassUID == made.SOPClassUID
        assert [image.ReferencedSOPInstanceUID for _, image in sources] == on_slices
    evidence = {
        one.ReferencedSOPInstanceUID
        for study in read.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert evidence == {made.SOPInstanceUID, *(header.SOPInstanceUID for header in ct.source.headers)}


def test_tracking_ids_are_those_of_the_segmentation(ct: Any, tmp_path: Path) -> None:
    made = segmentation(ct)
    read = factory.read_back(report(ct, made), tmp_path / "report.dcm")
    assert [(one["Tracking Identifier"], one["Tracking Unique Identifier"]) for one in groups(read)] == [
        (segment.TrackingID, segment.TrackingUID) for segment in made.SegmentSequence
    ]


def test_a_label_that_is_nowhere_has_volume_0_and_no_region(ct: Any, tmp_path: Path) -> None:
    mask = np.where(ct.mask == 1, 1, 0)
    statistics = factory.measured(mask, ct.affine_ras, factory.SEGMENTS)
    only_one = dataclasses.replace(ct, mask=mask.astype(np.uint8), statistics=statistics)
    read = factory.read_back(report(only_one, segmentation(only_one)), tmp_path / "report.dcm")
    there, nowhere = groups(read)
    assert there["images"]
    assert (nowhere["Volume"], nowhere["images"]) == ((0.0, "ml"), [])


def test_without_a_segmentation_the_groups_refer_to_the_images_alone(ct: Any, tmp_path: Path) -> None:
    read = factory.read_back(report(ct), tmp_path / "report.dcm")
    for group in groups(read):
        assert {what for what, _ in group["images"]} == {"Source of Measurement"}
        assert group["Volume"][0] > 0
    assert factory.dciodvfy(tmp_path / "report.dcm") == []


@pytest.mark.parametrize(("kind", "known"), [("binary", []), ("labelmap", [SEGMENT_OUTSIDE_SEG])])
def test_an_area_on_a_radiograph_is_called_that_of_the_projection(tmp_path: Path, kind: Any, known: list[str]) -> None:
    mask = np.zeros((20, 16, 1), np.uint8)
    mask[3:9, 4:12] = 1
    finding = radiograph(tmp_path, factory.SEGMENTS[:1], LabelVolumes, mask, PixelSpacing=[0.3, 0.2])
    read = factory.read_back(report(finding, segmentation(finding, kind)), tmp_path / "report.dcm")
    (group,) = groups(read)
    row = finding.statistics["labels"]["vertebra"]
    assert group["Area"] == (row["area_mm2"], "mm2")
    assert group["Share of the image's pixels"] == (row["share_of_image"], "1")
    assert [what for what, _ in group["images"]] == ["Referenced Segmentation Frame", "Source Image for Segmentation"]
    assert "Volume" not in group
    assert "of the projection" in _comment(read)
    errors = factory.dciodvfy(tmp_path / "report.dcm")
    assert [error for error in errors if not any(one in error for one in known)] == []


def test_no_area_is_said_where_nobody_knows_how_large_a_pixel_is(tmp_path: Path) -> None:
    mask = np.zeros((20, 16, 1), np.uint8)
    mask[3:9, 4:12] = 1
    finding = radiograph(tmp_path, factory.SEGMENTS[:1], LabelVolumes, mask)
    read = factory.read_back(report(finding, segmentation(finding)), tmp_path / "report.dcm")
    (group,) = groups(read)
    assert "Area" not in group
    assert group["Number of voxels or pixels"] == (48.0, "{voxels}")


def test_shares_of_the_lungs_are_there_for_each_side(tmp_path: Path) -> None:
    mask = np.zeros((40, 30, 1), np.uint8)
    mask[4:14, 4:25] = mask[24:36, 4:25] = 1
    finding = radiograph(tmp_path, [LUNG], LungFields, mask)
    read = factory.read_back(report(finding, segmentation(finding)), tmp_path / "report.dcm")
    _, *sides = groups(read)
    shares = [one["Share of both lung fields together"] for one in sides]
    lungs = finding.statistics["lungs"]
    assert shares == [(lungs[side]["share_of_lungs"], "1") for side in ("right", "left")]
    assert factory.dciodvfy(tmp_path / "report.dcm") == []


def test_the_share_of_slices_with_lesions_is_a_group_of_its_own(ct: Any, tmp_path: Path) -> None:
    volume = Volume(ct.mask.astype(np.float32), ct.affine_ras, "HU")
    names = [segment.name for segment in ct.segments]
    measured = {**factory.PROVENANCE, **LesionBurden(names)(ct.mask, volume, "case"), "share_of_lung": 0.125}
    finding = dataclasses.replace(ct, statistics=measured)
    *_, burden = groups(factory.read_back(report(finding, segmentation(finding)), tmp_path / "report.dcm"))
    assert burden["Share of axial slices with any label"] == (measured["share_of_slices"], "1")
    assert burden["Share of the lung mask inside any label"] == (0.125, "1")


def test_it_says_that_software_made_it_and_that_it_is_no_medical_device(ct: Any, tmp_path: Path) -> None:
    read = factory.read_back(report(ct, segmentation(ct)), tmp_path / "report.dcm")
    assert "Not a medical device" in _comment(read)
    (observer,) = (one for one in read.ContentSequence if _name(one) == "Observer Type")
    assert observer.ConceptCodeSequence[0].CodeMeaning == "Device"
    assert (read.VerificationFlag, read.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert (read.PatientID, read.StudyInstanceUID) == ("ID-4711", factory.HEADER["StudyInstanceUID"])


def test_warnings_and_how_sure_the_mask_is_are_in_it(ct: Any, tmp_path: Path) -> None:
    warnings = ["gantry tilt of 14.0°: slices sheared back to an upright grid", "1 missing slice near z = 33.1 mm"]
    said = dataclasses.replace(ct, statistics={**ct.statistics, "warnings": warnings, "confidence": 0.875})
    read = factory.read_back(report(said, segmentation(said)), tmp_path / "report.dcm")
    (remarks,) = (one for one in read.ContentSequence if _name(one) == "Qualitative Evaluations")
    assert [one.TextValue for one in remarks.ContentSequence if _name(one) == "Warning"] == warnings
    assert groups(read)[-1]["Mean certainty of labelled voxels or pixels"] == (0.875, "1")
    assert factory.dciodvfy(tmp_path / "report.dcm") == []
    cleaned = Deidentifier(b"0123456789abcdef").apply(read)
    (remarks,) = (one for one in cleaned.ContentSequence if _name(one) == "Qualitative Evaluations")
    assert [one.TextValue for one in remarks.ContentSequence if _name(one) == "Warning"] == warnings


def test_without_any_label_nothing_is_said_of_how_sure_the_mask_is(ct: Any, tmp_path: Path) -> None:
    said = dataclasses.replace(ct, statistics={**ct.statistics, "confidence": None})
    read = factory.read_back(report(said, segmentation(said)), tmp_path / "report.dcm")
    assert [one for one in groups(read) if "Mean certainty of labelled voxels or pixels" in one] == []


def test_reports_on_different_segmentations_are_different_objects(ct: Any) -> None:
    made = [None, segmentation(ct, "binary"), segmentation(ct, "labelmap")]
    assert len({str(report(ct, one).SOPInstanceUID) for one in made}) == len(made)


def _comment(read: Dataset) -> str:
    (remarks,) = (one for one in read.ContentSequence if _name(one) == "Qualitative Evaluations")
    return str(remarks.ContentSequence[0].TextValue)


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
def test_validators_find_no_error(ct: Any, tmp_path: Path, kind: Any) -> None:
    probability = np.stack([ct.mask == 1, ct.mask == 2]).astype(np.float32)
    finding = dataclasses.replace(ct, probability=probability)
    factory.read_back(report(finding, segmentation(finding, kind)), tmp_path / "report.dcm")
    errors = factory.dciodvfy(tmp_path / "report.dcm")
    assert [error for error in errors if not (kind == "labelmap" and SEGMENT_OUTSIDE_SEG in error)] == []


def test_dcmtk_prints_the_whole_tree(ct: Any, tmp_path: Path) -> None:
    program = shutil.which("dsrdump")
    if program is None:
        pytest.skip("dsrdump (dcmtk) is not installed")
    report(ct, segmentation(ct)).save_as(tmp_path / "report.dcm", enforce_file_format=True)
    run = subprocess.run([program, str(tmp_path / "report.dcm")], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert "E:" not in run.stderr
    assert run.stdout.count("Measurement Group") == 2


def test_highdicom_finds_the_measurements(ct: Any, tmp_path: Path) -> None:
    report(ct, segmentation(ct)).save_as(tmp_path / "report.dcm", enforce_file_format=True)
    read = highdicom.sr.srread(tmp_path / "report.dcm")
    found = read.content.get_volumetric_roi_measurement_groups()
    assert [group.get_measurements()[0].value for group in found] == [
        row["volume_ml"] for row in ct.statistics["labels"].values()
    ]
    assert [group.referenced_segment[0].referenced_segment_numbers for group in found] == [[1], [2]]


def test_the_same_numbers_are_always_the_same_object(ct: Any) -> None:
    one, other = report(ct, segmentation(ct)), report(ct, segmentation(ct))
    assert (one.SOPInstanceUID, one.SeriesInstanceUID) == (other.SOPInstanceUID, other.SeriesInstanceUID)


def test_a_source_of_a_private_class_with_a_broken_header_has_a_report(tmp_path: Path) -> None:
    header = {"PatientBirthDate": "unknown", "StudyDate": "yesterday", "PatientSex": "X", "SeriesNumber": "-3"}
    folder = factory.series(tmp_path / "ct", SHAPE, header={**header, "SOPClassUID": "1.2.840.113619.4.26"})
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.113619.4.26"
        dataset.save_as(file, enforce_file_format=True)
    finding = factory.finding(factory.only_case(folder), factory.blobs(SHAPE))
    read = factory.read_back(report(finding, segmentation(finding)), tmp_path / "report.dcm")
    (_, source), *_ = groups(read)[0]["images"][1:]
    assert source.ReferencedSOPClassUID == "1.2.840.113619.4.26"
    assert (read.PatientBirthDate, read.StudyDate, read.PatientSex) == ("", "", "")
