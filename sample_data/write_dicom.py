"""Write a volume as a DICOM CT series, one file a slice, the same byte for byte when written again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from radseg.sample_data.datalist import patient_id
from radseg.sample_data.grid import Grid
from radseg.sample_data.random_fields import generator

# Fixed, for pydicom's own would change the bytes with its version.
_IMPLEMENTATION_CLASS_UID = "1.2.826.0.1.3680043.8.498.20210731001"
_IMPLEMENTATION_VERSION_NAME = "RADSEG_SAMPLE"
_INTERCEPT = -1024


@dataclass(frozen=True)
class SeriesForm:
    """How a series is stored, which differs between scanners and doesn't change the image.

    Attributes:
        reversed_instances: Whether InstanceNumber 1 is the uppermost slice instead of the lowest.
        is_signed: Whether pixels are stored as 16-bit signed numbers instead of 12 bits unsigned.
    """

    reversed_instances: bool = False
    is_signed: bool = False


def _uid(*sources: str) -> str:
    return str(generate_uid(entropy_srcs=["radseg sample data", *sources]))


def decimal(value: float) -> str:
    """Return a decimal string of at most 16 characters (PS3.5 6.2, value representation DS)."""
    text = f"{value + 0.0:.12f}".rstrip("0").rstrip(".")
    return text[:16]


def write_dicom_series(
    folder: Path,
    volume: NDArray[np.int16],
    grid: Grid,
    *,
    name: str,
    body_part: str,
    window: tuple[int, int],
    form: SeriesForm,
) -> None:
    """Write one CT Image Storage object (PS3.3 A.3) per slice, in explicit VR little endian.

    File names count in a shuffled order, so that a reader has to order slices by ImagePositionPatient.

    Args:
        folder: Where the files go; it is made.
        volume: HU in the grid's order (column, row, slice).
        grid: Where the voxels lie.
        name: The case's name, such as "spine01"; UIDs, PatientID and PatientName follow from it.
        body_part: BodyPartExamined, such as "SPINE".
        window: WindowCenter and WindowWidth in HU.
        form: How the series is stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slices = volume.shape[2]
    seed = int.from_bytes(name.encode(), "little") % 2**32
    draws = generator(seed).integers(0, 2**32, size=slices, dtype=np.uint64)
    file_numbers = np.argsort(np.argsort(draws, kind="stable"), kind="stable") + 1
    for index in range(slices):
        dataset = _slice(volume[:, :, index].T, index, slices, grid, name, form)
        dataset.BodyPartExamined = body_part
        dataset.WindowCenter, dataset.WindowWidth = str(window[0]), str(window[1])
        dataset.save_as(folder / f"IM{file_numbers[index]:04d}.dcm", enforce_file_format=True)


def _slice(
    pixels_hu: NDArray[np.int16], index: int, slices: int, grid: Grid, name: str, form: SeriesForm
) -> FileDataset:
    dataset = identified(name, CTImageStorage, "CT", "CT", "slice", str(index))
    dataset.InstanceNumber = str(slices - index if form.reversed_instances else index + 1)
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = _uid(name, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.KVP = "120"
    _place(dataset, index, grid)
    _store_pixels(dataset, pixels_hu, form)
    return dataset


def identified(name: str, sop_class_uid: str, modality: str, said: str, *instance: str) -> FileDataset:
    """Return an object with its Patient, General Study, Series, Equipment and SOP Common modules (PS3.3 C.7, C.12).

    Args:
        name: The case's name; UIDs, PatientID and PatientName follow from it.
        sop_class_uid: What kind of object it is.
        modality: Modality.
        said: What descriptions call it, such as "CT".
        instance: Tells the instances of a case apart.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class_uid
    meta.MediaStorageSOPInstanceUID = _uid(name, *instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = _IMPLEMENTATION_VERSION_NAME
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    kind, number = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientName = f"Sample^{kind.capitalize()}{number}"
    dataset.PatientID = patient_id(name)
    dataset.PatientBirthDate = "19000101"
    dataset.PatientSex = "O"
    dataset.PatientComments = "Synthetic phantom, no patient"
    dataset.StudyInstanceUID = _uid(name, "study")
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20200101"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "120000"
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.StudyDescription = dataset.SeriesDescription = f"Synthetic {kind} {said}"
    dataset.Modality = modality
    dataset.SeriesInstanceUID = _uid(name, "series")
    dataset.SeriesNumber = "2"
    dataset.Manufacturer = "radseg sample data"
    dataset.ManufacturerModelName = "Synthetic phantom"
    dataset.SoftwareVersions = "1"
    dataset.AcquisitionNumber = "1"
    dataset.InstanceNumber = "1"
    return dataset


def _place(dataset: Dataset, index: int, grid: Grid) -> None:
    """Fill the Image Plane module (PS3.3 C.7.6.2)."""
    column, row, between = grid.spacing_mm
    affine, directions = grid.affine_lps, grid.directions_lps
    position = affine[:3, 3] + index * affine[:3, 2]
    dataset.ImagePositionPatient = [decimal(value) for value in position]
    dataset.ImageOrientationPatient = [decimal(value) for value in (*directions[:, 0], *directions[:, 1])]
    # PixelSpacing names the distance of rows first.
    dataset.PixelSpacing = [decimal(row), decimal(column)]
    dataset.SliceThickness = decimal(between)
    dataset.SpacingBetweenSlices = decimal(between)
    dataset.SliceLocation = decimal(round(float(position @ directions[:, 2]), 6))


def _store_pixels(dataset: Dataset, pixels_hu: NDArray[np.int16], form: SeriesForm) -> None:
    """Fill the Image Pixel and CT Image modules (PS3.3 C.7.6.3 and C.8.2.1)."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels_hu.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored, dataset.HighBit = (16, 15) if form.is_signed else (12, 11)
    dataset.PixelRepresentation = int(form.is_signed)
    dataset.RescaleIntercept = str(_INTERCEPT)
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    stored = pixels_hu.astype(np.int32) - _INTERCEPT
    dataset.PixelData = np.ascontiguousarray(stored.astype("<i2" if form.is_signed else "<u2")).tobytes()
    dataset["PixelData"].VR = "OW"
