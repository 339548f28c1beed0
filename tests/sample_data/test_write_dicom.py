"""A DICOM twin tells the same image as its NIfTI file, read here by hand."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from radseg.sample_data.make import DICOM_TWINS

TWINS = {name: "spine" if name.startswith("spine") else "lung_ct" for name in DICOM_TWINS}

# What PS3.3 requires of the modules of a CT image (A.3), by type: with a value, or at least there.
TYPE_1 = {
    "general study": ("StudyInstanceUID",),
    "general series": ("Modality", "SeriesInstanceUID", "PatientPosition"),
    "frame of reference": ("FrameOfReferenceUID",),
    "image plane": ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"),
    "pixel size": ("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "PixelData"),
    "pixel bits": ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    "CT image": ("ImageType", "RescaleIntercept", "RescaleSlope"),
    "SOP common": ("SOPClassUID", "SOPInstanceUID"),
}
TYPE_2 = {
    "patient": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "general study": ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    "general series": ("SeriesNumber",),
    "frame of reference": ("PositionReferenceIndicator",),
    "general equipment": ("Manufacturer",),
    "general image": ("InstanceNumber",),
    "image plane": ("SliceThickness",),
    "CT image": ("KVP", "AcquisitionNumber"),
}


@pytest.fixture(params=sorted(TWINS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(sample_data: Path, name: str) -> list[FileDataset]:
    """Return the slices in the order of their file names."""
    return [pydicom.dcmread(path) for path in sorted((sample_data / TWINS[name] / "dicom" / name).iterdir())]


def normal(dataset: FileDataset) -> np.ndarray:
    cosines = np.array(dataset.ImageOrientationPatient, dtype=float)
    return np.cross(cosines[:3], cosines[3:])


def ordered(datasets: list[FileDataset]) -> list[FileDataset]:
    return sorted(datasets, key=lambda d: float(normal(d) @ np.array(d.ImagePositionPatient, dtype=float)))


def test_voxels_are_those_of_the_nifti(sample_data: Path, name: str) -> None:
    image = nib.load(sample_data / TWINS[name] / "imagesTr" / f"{name}.nii.gz")
    slices = [
        d.pixel_array.astype(int).T * int(d.RescaleSlope) + int(d.RescaleIntercept)
        for d in ordered(read(sample_data, name))
    ]
    assert np.array_equal(np.stack(slices, axis=2), np.asanyarray(image.dataobj))


def test_affine_is_that_of_the_nifti(sample_data: Path, name: str) -> None:
    image = nib.load(sample_data / TWINS[name] / "imagesTr" / f"{name}.nii.gz")
    datasets = ordered(read(sample_data, name))
    first, last = (np.array(d.ImagePositionPatient, dtype=float) for d in (datasets[0], datasets[-1]))
    cosines = np.array(datasets[0].ImageOrientationPatient, dtype=float)
    rows_mm, columns_mm = (float(value) for value in datasets[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = cosines[:3] * columns_mm, cosines[3:] * rows_mm
    affine[:3, 2] = (last - first) / (len(datasets) - 1)
    affine[:3, 3] = first
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ affine, image.affine, atol=1e-5)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")


def test_slices_are_evenly_spaced_and_in_one_frame(sample_data: Path, name: str) -> None:
    datasets = ordered(read(sample_data, name))
    heights = np.array([normal(d) @ np.array(d.ImagePositionPatient, dtype=float) for d in datasets])
    np.testing.assert_allclose(np.diff(heights), float(datasets[0].SpacingBetweenSlices), atol=1e-6)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert len({d[keyword].value for d in datasets}) == 1
    assert len({d.SOPInstanceUID for d in datasets}) == len(datasets)


def test_file_names_are_not_in_the_order_of_space(sample_data: Path, name: str) -> None:
    datasets = read(sample_data, name)
    heights = [float(normal(d) @ np.array(d.ImagePositionPatient, dtype=float)) for d in datasets]
    assert heights not in (sorted(heights), sorted(heights, reverse=True))


def test_instances_count_downwards_where_the_series_is_reversed(sample_data: Path, name: str) -> None:
    numbers = [int(d.InstanceNumber) for d in ordered(read(sample_data, name))]
    assert numbers == sorted(numbers, reverse=DICOM_TWINS[name].reversed_instances)


@pytest.mark.parametrize("module", sorted(TYPE_1))
def test_attributes_of_type_1_have_a_value(sample_data: Path, name: str, module: str) -> None:
    for dataset in read(sample_data, name):
        assert [keyword for keyword in TYPE_1[module] if dataset.get(keyword) in (None, "")] == []


@pytest.mark.parametrize("module", sorted(TYPE_2))
def test_attributes_of_type_2_are_there(sample_data: Path, name: str, module: str) -> None:
    for dataset in read(sample_data, name):
        assert [keyword for keyword in TYPE_2[module] if keyword not in dataset] == []


def test_files_are_ct_images_in_explicit_little_endian(sample_data: Path, name: str) -> None:
    for dataset in read(sample_data, name):
        assert dataset.SOPClassUID == CTImageStorage
        assert dataset.Modality == "CT"
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def test_the_patient_is_the_one_of_the_datalist(sample_data: Path, name: str) -> None:
    dataset = read(sample_data, name)[0]
    kind, number = name[:-2], name[-2:]
    assert dataset.PatientID == f"sample-{kind}-{number}"
    assert dataset.PatientName == f"Sample^{kind.capitalize()}{number}"
