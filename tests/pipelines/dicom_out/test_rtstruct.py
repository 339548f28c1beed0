"""RT Structure Sets: contours where the mask is, on the source's own frames."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import finding_factory as factory
import nibabel
import numpy as np
import pytest
from matplotlib.path import Path as Outline
from pydicom.dataset import Dataset

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.rtstruct import rtstruct
from radseg.pipelines.dicom_out.source import read_source, values_on_frames
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.volume import LPS_TO_RAS

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
UPSIDE_DOWN = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
SHAPE = (20, 16, 6)


def contours(dataset: Dataset, number: int) -> Iterator[tuple[str, np.ndarray]]:
    """Referenced instance and points in mm of each contour of a region."""
    roi = next(item for item in dataset.ROIContourSequence if item.ReferencedROINumber == number)
    for contour in roi.get("ContourSequence", []):
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints
        yield contour.ContourImageSequence[0].ReferencedSOPInstanceUID, points


def in_pixels(points_mm: np.ndarray, header: Any) -> np.ndarray:
    """Column, row and distance from the plane in mm, by the header alone (PS3.3 C.7.6.2.1.1)."""
    row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, header.PixelSpacing)
    apart = points_mm - np.array(header.ImagePositionPatient, float)
    return np.stack([apart @ row / between_columns, apart @ column / between_rows, apart @ np.cross(row, column)], 1)


def filled(dataset: Dataset, number: int, finding: Finding) -> np.ndarray:
    """A region read by somebody else: (column, row, frame), contours of a frame combined by exclusive or."""
    headers = {header.SOPInstanceUID: header for header in finding.source.headers}
    frames = {frame_header.SOPInstanceUID: index for index, frame_header in enumerate(finding.source.headers)}
    first = finding.source.headers[0]
    volume = np.zeros((first.Columns, first.Rows, len(frames)), bool)
    for instance, points in contours(dataset, number):
        pixels = in_pixels(points, headers[instance])
        assert abs(pixels[:, 2]).max() < 1e-3  # in the frame's plane
        low = np.ceil(pixels[:, :2].min(axis=0)).astype(int)
        high = np.floor(pixels[:, :2].max(axis=0)).astype(int) + 1
        centres = np.stack(np.meshgrid(*(np.arange(*ends) for ends in zip(low, high, strict=True)), indexing="ij"), -1)
        inside = Outline(pixels[:, :2]).contains_points(centres.reshape(-1, 2)).reshape(centres.shape[:2])
        volume[low[0] : high[0], low[1] : high[1], frames[instance]] ^= inside
    return volume


@pytest.mark.parametrize("orientation", [factory.dicom.AXIAL, OBLIQUE, UPSIDE_DOWN])
def test_the_mask_comes_back_voxel_for_voxel(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    case = factory.only_case(factory.series(tmp_path / "ct", SHAPE, orientation=orientation))
    mask = factory.blobs(SHAPE)
    finding = factory.finding(case, mask)
    read = factory.read_back(rtstruct(finding), tmp_path / "rtstruct.dcm")
    assert np.array_equal(filled(read, 1, finding), mask == 1)
    assert np.array_equal(filled(read, 2, finding), mask == 2)


def test_vertebrae_of_a_real_chest_ct_come_back_voxel_for_voxel(tmp_path: Path, real_data: Path) -> None:
    image = nibabel.load(real_data / "chest_ct" / "structures.nii.gz")
    labels = np.asarray(image.dataobj)
    mask = np.where((labels >= 26) & (labels <= 50), 1, 0).astype(np.uint8)
    mask[labels == 10] = 2  # a lobe of a lung: large, with holes where the vessels are
    files = _headers_only(tmp_path, LPS_TO_RAS @ image.affine, mask.shape)
    case = Case("chest", InputKind.DICOM, files, tmp_path)
    finding = factory.finding(case, mask)
    # the volume lies as NIfTI has it, whichever way the frames are sorted
    finding = Finding(mask, image.affine, finding.source, finding.segments, finding.statistics)
    read = factory.read_back(rtstruct(finding), tmp_path / "rtstruct.dcm")
    frames = np.stack(list(values_on_frames(mask, image.affine, finding.source.frames)), -1).transpose(1, 0, 2)
    assert (frames == 1).sum() == (mask == 1).sum()
    for label in (1, 2):
        assert np.array_equal(filled(read, label, finding), frames == label)


def _headers_only(folder: Path, affine_lps: np.ndarray, shape: tuple[int, ...]) -> tuple[Path, ...]:
    """CT slices of a geometry, without pixels: a mask is put on them, not made of them."""
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    orientation = np.concatenate([affine_lps[:3, 0] / spacing[0], affine_lps[:3, 1] / spacing[1]])
    files = []
    for k in range(shape[2]):
        dataset = factory.dicom.ct_slice(np.zeros((1, 1), np.int16), number=k)
        factory.dicom.place(dataset, affine_lps[:3, 3] + k * affine_lps[:3, 2], orientation)
        for keyword, value in factory.HEADER.items():
            setattr(dataset, keyword, value)
        dataset.Columns, dataset.Rows = shape[:2]
        dataset.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        del dataset.PixelData
        files.append(folder / f"{k:04d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return tuple(files)


def test_contours_of_a_tilted_series_lie_on_its_own_slices(tmp_path: Path) -> None:
    folder = factory.series(tmp_path / "ct", (40, 40, 12), shift=(0.0, 0.7, 0.0))
    case = Case("tilted", InputKind.DICOM, tuple(sorted(folder.iterdir())), folder)
    upright = np.zeros((40, 48, 12), np.uint8)
    upright[12:20, 18:30, 3:9] = 1
    made = factory.finding(case, upright)  # an upright volume from the first slice on, as a resampled one would be
    read = factory.read_back(rtstruct(made), tmp_path / "rtstruct.dcm")
    found = filled(read, 1, made)
    places = np.argwhere(found)
    headers = made.source.headers
    spacing_rows, spacing_columns = factory.dicom.SPACING_MM
    mm = np.array(
        [np.add(headers[k].ImagePositionPatient, (i * spacing_columns, j * spacing_rows, 0)) for i, j, k in places]
    )
    wanted = (LPS_TO_RAS @ made.affine_ras @ np.append(np.argwhere(upright).mean(axis=0), 1))[:3]
    assert abs(mm.mean(axis=0) - wanted).max() < 0.5 * spacing_rows
    assert abs(len(places) / np.count_nonzero(upright) - 1) < 0.1
    depths = {round(float(points[0, 2]), 3) for _, points in contours(read, 1)}
    assert depths == {round(float(header.ImagePositionPatient[2]), 3) for header in headers[3:9]}


def test_contours_of_an_uneven_series_lie_on_the_slices_that_there_are(tmp_path: Path) -> None:
    folder = factory.series(tmp_path / "ct", (20, 16, 8))
    (folder / "IM0003.dcm").unlink()
    case = Case("uneven", InputKind.DICOM, tuple(sorted(folder.iterdir())), folder)
    made = factory.finding(case, np.zeros((20, 16, 8)))
    affine = made.affine_ras.copy()
    affine[:3, 2] *= 2.5 / np.linalg.norm(affine[:3, 2])
    whole = Finding(np.ones((20, 16, 8), np.uint8), affine, made.source, made.segments, made.statistics)
    read = factory.read_back(rtstruct(whole), tmp_path / "rtstruct.dcm")
    assert filled(read, 1, whole).all()
    assert len(list(contours(read, 1))) == 7


def test_a_slice_that_is_there_twice_has_its_contours_once(tmp_path: Path) -> None:
    folder = factory.series(tmp_path / "ct", SHAPE)
    once = factory.finding(factory.only_case(folder), np.ones(SHAPE))
    copy = factory.dicom.pydicom.dcmread(folder / "IM0002.dcm")
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    copy.save_as(folder / "again.dcm", enforce_file_format=True)
    case = Case("twice", InputKind.DICOM, tuple(sorted(folder.iterdir())), folder)
    twice = dataclasses.replace(once, source=read_source(case))
    assert len(twice.source.frames) == SHAPE[2] + 1
    assert len(list(contours(rtstruct(twice), 1))) == SHAPE[2]


def test_frames_of_a_multi_frame_image_are_named_by_their_number(tmp_path: Path) -> None:
    hu = np.zeros(SHAPE, np.int16) + np.arange(6, dtype=np.int16)
    path = factory.dicom.write_enhanced(tmp_path / "enhanced.dcm", hu, order=[5, 0, 1, 2, 3, 4])
    mask = np.zeros(SHAPE)
    mask[3:6, 3:6, 1] = 1
    made = factory.finding(factory.only_case(path), mask)
    read = factory.read_back(rtstruct(made), tmp_path / "rtstruct.dcm")
    (contour,) = read.ROIContourSequence[0].ContourSequence
    assert contour.ContourImageSequence[0].ReferencedFrameNumber == 3
    assert float(contour.ContourData[2]) == 30 + 2.5


def test_regions_say_what_they_are_and_refer_to_the_source(tmp_path: Path) -> None:
    case = factory.only_case(factory.series(tmp_path / "ct", SHAPE))
    finding = factory.finding(case, factory.blobs(SHAPE))
    read = factory.read_back(rtstruct(finding), tmp_path / "rtstruct.dcm")
    assert [region.ROIName for region in read.StructureSetROISequence] == ["vertebra", "fractured vertebra"]
    assert [list(region.ROIDisplayColor) for region in read.ROIContourSequence] == [[230, 200, 120], [220, 40, 40]]
    codes = [one.RTROIIdentificationCodeSequence[0].CodeValue for one in read.RTROIObservationsSequence]
    assert codes == ["51282000", "125605004"]
    assert [one.RTROIInterpretedType for one in read.RTROIObservationsSequence] == ["ORGAN", ""]
    (reference,) = read.ReferencedFrameOfReferenceSequence
    (study,) = reference.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert reference.FrameOfReferenceUID == read.FrameOfReferenceUID == factory.HEADER["FrameOfReferenceUID"]
    assert study.ReferencedSOPInstanceUID == read.StudyInstanceUID == factory.HEADER["StudyInstanceUID"]
    assert series.SeriesInstanceUID == case.series_uid != read.SeriesInstanceUID
    instances = {image.ReferencedSOPInstanceUID for image in series.ContourImageSequence}
    assert instances == {header.SOPInstanceUID for header in finding.source.headers}
    assert (read.PatientName, read.PatientID, read.AccessionNumber) == ("Tell^Tale", "ID-4711", "ACC-99")
    assert "Not a medical device" in read.StructureSetDescription


def test_a_label_that_is_nowhere_has_a_region_without_contours(tmp_path: Path) -> None:
    case = factory.only_case(factory.series(tmp_path / "ct", SHAPE))
    read = factory.read_back(rtstruct(factory.finding(case, np.ones(SHAPE))), tmp_path / "rtstruct.dcm")
    assert [region.ROINumber for region in read.StructureSetROISequence] == [1, 2]
    assert ["ContourSequence" in region for region in read.ROIContourSequence] == [True, False]
    nothing = factory.finding(case, np.zeros(SHAPE))
    factory.read_back(rtstruct(nothing), tmp_path / "nothing.dcm")
    assert factory.dciodvfy(tmp_path / "nothing.dcm") == []


def test_the_validator_finds_no_error(tmp_path: Path) -> None:
    case = factory.only_case(factory.series(tmp_path / "ct", SHAPE))
    factory.read_back(rtstruct(factory.finding(case, factory.blobs(SHAPE))), tmp_path / "rtstruct.dcm")
    assert factory.dciodvfy(tmp_path / "rtstruct.dcm") == []


def test_a_contour_longer_than_explicit_vr_allows_comes_back(tmp_path: Path) -> None:
    shape = (128, 128, 1)
    case = factory.only_case(factory.series(tmp_path / "ct", shape))
    mask = np.ones(shape)
    mask[1:-1:2, 1:-1:2] = 0  # 4,000 holes a slice, all of them in one contour
    finding = factory.finding(case, mask)
    read = factory.read_back(rtstruct(finding), tmp_path / "rtstruct.dcm")
    (first, *_) = (points for _, points in contours(read, 1))
    assert first.size * 5 > 0xFFFF
    assert np.array_equal(filled(read, 1, finding), mask == 1)


def test_the_same_mask_is_always_the_same_object(tmp_path: Path) -> None:
    case = factory.only_case(factory.series(tmp_path / "ct", SHAPE))
    one, other = (rtstruct(factory.finding(case, factory.blobs(SHAPE))) for _ in range(2))
    assert (one.SOPInstanceUID, one.SeriesInstanceUID) == (other.SOPInstanceUID, other.SeriesInstanceUID)
    statistics = {**factory.PROVENANCE, "weights_sha256": "ef" * 32}
    by_others = rtstruct(factory.finding(case, factory.blobs(SHAPE), statistics=statistics))
    assert by_others.SOPInstanceUID != one.SOPInstanceUID


def test_a_source_without_study_or_frame_of_reference_gets_a_consistent_one(tmp_path: Path) -> None:
    case = factory.only_case(factory.series(tmp_path / "ct", SHAPE, header={"PatientBirthDate": "unknown"}))
    read = factory.read_back(rtstruct(factory.finding(case, np.ones(SHAPE))), tmp_path / "rtstruct.dcm")
    assert read.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == read.FrameOfReferenceUID
    assert read.StructureSetROISequence[0].ReferencedFrameOfReferenceUID == read.FrameOfReferenceUID
    assert factory.dciodvfy(tmp_path / "rtstruct.dcm") == []


def test_a_radiograph_is_refused_in_one_line(tmp_path: Path) -> None:
    path = factory.dicom.write_radiograph(tmp_path / "x.dcm", np.arange(320).reshape(16, 20))
    finding = factory.finding(factory.only_case(path, "DX"), np.ones((20, 16, 1)))
    with pytest.raises(InputError, match=r"no frame of reference.*ask for dicom_seg") as refused:
        rtstruct(finding)
    assert "\n" not in str(refused.value)
