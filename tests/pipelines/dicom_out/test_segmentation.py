"""DICOM segmentations: every pixel where its source has it, on whatever series, and headers that tell what it is."""

import socket
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import seg_sources as seg
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.segmentation import segmentation
from radseg.pipelines.dicom_out.source import read_source
from radseg.pipelines.errors import ConfigError, InputError

SHAPE = (7, 5, 4)


def save(found: Finding, kind: str, folder: Path) -> Path:
    file = folder / f"{kind}.dcm"
    segmentation(found, kind).save_as(file, enforce_file_format=True)
    return file


@settings(max_examples=60, deadline=None)
@given(
    how=st.sampled_from((*seg.STRAIGHT, *seg.BENT)),
    kind=st.sampled_from(seg.KINDS),
    shape=st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(2, 5)),
    seed=st.integers(0, 2**16),
)
def test_every_pixel_is_found_again_on_its_source_frame(
    how: str, kind: str, shape: tuple[int, int, int], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = seg.random_finding(seg.write(Path(folder) / "ct", how, shape), seed)
        read = seg.read_by_hand(save(found, kind, Path(folder)))
        volumes = seg.volumes_of(found, kind)
        if not any(volume.any() for volume in volumes.values()):
            assert all(not plane.any() for frames in read.values() for plane in frames.values())
            return
        for segment, volume in volumes.items():
            assert seg.shown_in(read.get(segment, {}), seg.truth(found, volume))


@pytest.mark.parametrize("how", seg.BENT)
def test_the_mask_of_a_bent_series_lies_on_the_frames_as_they_were_taken(how: str, tmp_path: Path) -> None:
    case = seg.write(tmp_path / "ct", how, SHAPE)
    found = seg.finding(case, np.ones(SHAPE, np.uint8))
    made = segmentation(found)
    positions = [tuple(g.PlanePositionSequence[0].ImagePositionPatient) for g in made.PerFrameFunctionalGroupsSequence]
    headers = [pydicom.dcmread(file) for file in case.files]
    assert sorted(positions) == sorted(tuple(header.ImagePositionPatient) for header in headers)
    assert "SpacingBetweenSlices" not in made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert "DimensionOrganizationType" not in made


def test_frames_of_an_enhanced_image_are_named_by_their_numbers(tmp_path: Path) -> None:
    found = seg.finding(seg.write(tmp_path, "enhanced", SHAPE), np.ones(SHAPE, np.uint8))
    made = segmentation(found)
    images = [g.DerivationImageSequence[0].SourceImageSequence[0] for g in made.PerFrameFunctionalGroupsSequence]
    assert {image.ReferencedFrameNumber for image in images} == {1, 2, 3, 4}
    assert {image.ReferencedSOPClassUID for image in images} == {pydicom.uid.EnhancedCTImageStorage}
    assert len(made.SourceImageSequence) == 1


@pytest.mark.parametrize("kind", seg.KINDS)
def test_a_mask_without_anything_is_one_empty_frame_a_segment(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = seg.write(tmp_path / "ct", "regular", SHAPE)
    found = seg.finding(case, np.zeros(SHAPE, np.uint8), np.zeros((2, *SHAPE), np.uint8))
    read = seg.read_by_hand(save(found, kind, tmp_path))
    first = (read_source(case).headers[0].SOPInstanceUID, 1)
    assert [list(frames) for frames in read.values()] == [[first]] * (1 if kind == "labelmap" else 2)
    assert not any(plane.any() for frames in read.values() for plane in frames.values())
    assert caplog.records == []


def test_it_says_what_it_is_who_made_it_and_of_what(tmp_path: Path) -> None:
    found = seg.finding(seg.write(tmp_path, "regular", SHAPE), np.full(SHAPE, 2, np.uint8))
    made = segmentation(found)
    source = found.source.headers[0]
    assert (made.ContentDescription, made.SeriesDescription) == ("radseg spine. Not a medical device", "radseg spine")
    assert (made.Manufacturer, made.DeviceSerialNumber, made.SeriesNumber) == ("radseg", "ab" * 32, 1004)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "AccessionNumber"):
        assert made[keyword].value == source[keyword].value
    second = made.SegmentSequence[1]
    assert (second.SegmentLabel, second.SegmentAlgorithmType) == ("fractured vertebra", "AUTOMATIC")
    assert second.AnatomicRegionSequence[0].CodeMeaning == "Vertebra"
    algorithm = second.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("radseg spine", "0.1.0")
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    red = second.RecommendedDisplayCIELabValue
    assert red[1] > 2**15 < red[2]  # a* and b* of a red are positive
    assert socket.gethostname() not in str(made)


@pytest.mark.parametrize("kind", seg.KINDS)
def test_the_same_mask_of_the_same_images_has_the_same_uids(kind: str, tmp_path: Path) -> None:
    found = seg.random_finding(seg.write(tmp_path, "regular", SHAPE), 3)
    one, other = (segmentation(found, kind) for _ in range(2))
    clock = ("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime")
    for dataset in (one, other):
        for keyword in (*clock, "ContributingEquipmentSequence"):
            dataset.pop(keyword, None)
    assert one.to_json() == other.to_json()


def test_kinds_are_series_of_their_own(tmp_path: Path) -> None:
    found = seg.random_finding(seg.write(tmp_path, "regular", SHAPE), 3)
    made = [segmentation(found, kind) for kind in seg.KINDS]
    assert len({one.SOPInstanceUID for one in made} | {one.SeriesInstanceUID for one in made}) == 6


MISSING = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName", "StudyInstanceUID", "FrameOfReferenceUID", "SliceThickness"),
    *("SeriesInstanceUID", "SOPClassUID", "Modality", "SeriesNumber"),
)


@pytest.mark.parametrize("how", ["regular", "enhanced"])
def test_an_anonymised_series_gets_ids_that_every_object_made_of_it_shares(how: str, tmp_path: Path) -> None:
    case = seg.write(tmp_path / "ct", how, SHAPE)
    for file in case.files:
        seg.factory.dicom.rewrite(file, lambda one: [one.pop(keyword, None) for keyword in MISSING])
    found = seg.random_finding(case, 1)
    made = [pydicom.dcmread(save(found, kind, tmp_path)) for kind in seg.KINDS]
    assert len({(one.StudyInstanceUID, one.FrameOfReferenceUID) for one in made}) == 1
    assert made[0].StudyInstanceUID.startswith("2.25.")
    assert made[0].PatientName == ""
    classes = {image.ReferencedSOPClassUID for image in made[0].SourceImageSequence}
    stored = pydicom.uid.EnhancedCTImageStorage if how == "enhanced" else pydicom.uid.CTImageStorage
    assert classes == {stored}


def test_values_that_break_the_rules_are_kept_as_text_and_dropped_as_dates(tmp_path: Path) -> None:
    case = seg.write(tmp_path, "regular", SHAPE)

    def spoil(dataset: pydicom.Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName, dataset.PatientID = "Yamada^Tarou=山田^太郎", "P" * 70
        dataset.PatientSex, dataset.StudyDate, dataset.StudyTime = "?", "yesterday", "noon"
        dataset.PatientAge, dataset.SOPClassUID = "old", "1.2.840.113619.4.26"

    with pydicom.config.disable_value_validation():
        for file in case.files:
            seg.factory.dicom.rewrite(file, spoil)
    made = pydicom.dcmread(save(seg.random_finding(case, 1), "binary", tmp_path))
    with pydicom.config.disable_value_validation():
        assert (str(made.PatientName), made.PatientID) == ("Yamada^Tarou=山田^太郎", "P" * 70)
    assert (made.PatientSex, made.StudyDate, made.StudyTime) == ("", "", "")
    assert "PatientAge" not in made
    assert {image.ReferencedSOPClassUID for image in made.SourceImageSequence} == {"1.2.840.113619.4.26"}


NASTY = (
    "",
    "\\",
    "A\\B",
    "19991399",
    "2020.01.01",
    "ISO_IR 999",
    "\x1b$B",
    "é" * 80,
    "-1",
    "nan",
    "1e400",
    "^^^^^^",
    "=",
)


@settings(max_examples=60, deadline=None)
@given(
    keyword=st.sampled_from((*MISSING, "SpecificCharacterSet", "PatientAge", "PatientWeight", "LossyImageCompression")),
    value=st.sampled_from(NASTY),
    vr=st.sampled_from(("as it should be", "LO", "UN")),
    kind=st.sampled_from(seg.KINDS),
)
def test_whatever_a_header_says_of_the_patient_the_mask_is_written(
    keyword: str, value: str, vr: str, kind: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        case = seg.write(Path(folder) / "ct", "regular", SHAPE)
        tag = pydicom.tag.Tag(keyword)
        raw = value.encode("latin-1") + b" " * (len(value) % 2)
        real = pydicom.datadict.dictionary_VR(tag) if vr == "as it should be" else vr
        found = seg.random_finding(case, 1)
        for header in found.source.headers:
            header[tag] = pydicom.dataelem.RawDataElement(tag, real, len(raw), raw, 0, False, True)
        read = seg.read_by_hand(save(found, kind, Path(folder)))
        for segment, volume in seg.volumes_of(found, kind).items():
            wanted = {uid: plane for (uid, _), plane in seg.truth(found, volume).items() if plane.any()}
            assert {uid for uid, _ in read[segment]} == set(wanted)


def test_what_was_once_lossy_stays_marked(tmp_path: Path) -> None:
    case = seg.write(tmp_path, "regular", SHAPE)
    seg.factory.dicom.rewrite(case.files[0], lambda one: setattr(one, "LossyImageCompression", "01"))
    assert segmentation(seg.random_finding(case, 1)).LossyImageCompression == "01"


def test_an_image_that_nothing_can_refer_to_is_refused_by_name(tmp_path: Path) -> None:
    case = seg.write(tmp_path, "regular", SHAPE)
    pixels = seg.random_finding(case, 1)

    def nameless(dataset: pydicom.Dataset) -> None:
        del dataset.SOPInstanceUID
        dataset.file_meta.MediaStorageSOPInstanceUID = ""

    for file in case.files:
        dataset = pydicom.dcmread(file)
        nameless(dataset)
        dataset.save_as(file)
    found = Finding(pixels.mask, pixels.affine_ras, read_source(case), pixels.segments, pixels.statistics)
    with pytest.raises(InputError, match="no valid SOPInstanceUID"):
        segmentation(found)


def test_a_slice_that_is_there_twice_is_one_frame(tmp_path: Path) -> None:
    case = seg.write(tmp_path / "ct", "regular", SHAPE)
    twin = pydicom.dcmread(case.files[1])
    twin.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.99"
    twin.save_as(tmp_path / "ct" / "twin.dcm")
    both = Case("both", InputKind.DICOM, (*case.files, tmp_path / "ct" / "twin.dcm"), tmp_path / "ct")
    single = seg.finding(case, np.ones(SHAPE, np.uint8))
    found = Finding(single.mask, single.affine_ras, read_source(both), single.segments, single.statistics)
    assert segmentation(found).NumberOfFrames == SHAPE[2]


@pytest.mark.parametrize("kind", seg.KINDS)
@pytest.mark.parametrize("calibrated", [False, True])
def test_a_radiograph_is_segmented_on_its_pixels(kind: str, calibrated: bool, tmp_path: Path) -> None:
    spacing = {"PixelSpacing": [0.2, 0.3]} if calibrated else {}
    file = seg.factory.dicom.write_radiograph(tmp_path / "dx.dcm", np.arange(35).reshape(5, 7), **spacing)
    rng = np.random.default_rng(0)
    mask, probability = rng.integers(1, 3, (7, 5, 1)), rng.integers(1, 256, (2, 7, 5, 1)).astype(np.uint8)
    found = seg.finding(Case("dx", InputKind.DICOM, (file,), file), mask, probability)
    read = seg.read_by_hand(save(found, kind, tmp_path))
    at = (found.source.headers[0].SOPInstanceUID, 1)
    for segment, volume in seg.volumes_of(found, kind).items():
        np.testing.assert_array_equal(read[segment][at], volume[:, :, 0].T)
    made = pydicom.dcmread(tmp_path / f"{kind}.dcm")
    assert "FrameOfReferenceUID" not in made


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    found = seg.finding(seg.write(tmp_path, "regular", SHAPE), np.ones(SHAPE, np.uint8))
    with pytest.raises(ConfigError, match="needs probabilities"):
        segmentation(found, "fractional")
    with pytest.raises(ConfigError, match="binary, labelmap or fractional"):
        segmentation(found, "contour")
