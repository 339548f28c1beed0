"""Small DICOM CT files with any fault that a test asks for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SERIES = "1.2.826.0.1.3680043.8.498.1"
SPACING_MM = (0.8, 0.6)
"""Between rows, between columns."""


def phantom(columns: int = 7, rows: int = 5, slices: int = 6) -> np.ndarray:
    """HU in (column, row, slice), no two voxels and no two slices alike."""
    return (np.arange(columns * rows * slices).reshape(columns, rows, slices) - 1000).astype(np.int16)


def write_series(
    folder: Path,
    hu: np.ndarray | None = None,
    *,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (10.0, -20.0, 30.0),
    step_mm: float = 2.5,
    shift: Sequence[float] = (0.0, 0.0, 0.0),
    uid: str = SERIES,
    change: Callable[[int, Dataset], None] | None = None,
    skip: Sequence[int] = (),
    names: Callable[[int], str] = "IM{:04d}.dcm".format,
) -> Path:
    """Write one file a slice, slice k at origin + k · (step_mm · normal + shift), and return the folder."""
    hu = phantom() if hu is None else hu
    normal = np.cross(orientation[:3], orientation[3:])
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(hu.shape[2]):
        if k in skip:
            continue
        dataset = ct_slice(hu[:, :, k], uid=uid, number=k)
        place(dataset, np.array(origin) + k * (step_mm * normal + np.array(shift)), orientation)
        if change:
            change(k, dataset)
        dataset.save_as(folder / names(k), enforce_file_format=True)
    return folder


def ct_slice(hu_ij: np.ndarray, *, uid: str = SERIES, number: int = 0) -> FileDataset:
    """A CT Image Storage dataset without position."""
    dataset = _dataset(CTImageStorage, generate_uid(entropy_srcs=[uid, str(number)]), uid)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = number + 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelSpacing = list(SPACING_MM)
    dataset.SliceThickness = 2.5
    store(dataset, (hu_ij.astype(np.int32) + 1024).T)
    return dataset


def place(dataset: Dataset, position: Sequence[float] | np.ndarray, orientation: Sequence[float] = AXIAL) -> None:
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.10f}" for value in orientation]


def store(dataset: Dataset, stored: np.ndarray, bits: int = 16, signed: bool = False) -> None:
    """Put stored values, (row, column) or (frame, row, column), into the dataset."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()


def write_enhanced(
    path: Path,
    hu: np.ndarray,
    *,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (10.0, -20.0, 30.0),
    step_mm: float = 2.5,
    order: Sequence[int] | None = None,
) -> Path:
    """Write one Enhanced CT file; frames in the given order of slices, a rescale of its own in each frame."""
    dataset = _dataset(EnhancedCTImageStorage, generate_uid(entropy_srcs=[path.name]), SERIES + ".7")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    normal = np.cross(orientation[:3], orientation[3:])
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=list(SPACING_MM), SliceThickness=2.5)]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[f"{value:.10f}" for value in orientation])]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames, groups = [], []
    for k in range(hu.shape[2]) if order is None else order:
        position = np.array(origin) + k * step_mm * normal
        groups.append(
            _item(
                PlanePositionSequence=[_item(ImagePositionPatient=[f"{value:.6f}" for value in position])],
                PixelValueTransformationSequence=[
                    _item(RescaleSlope=1, RescaleIntercept=-1024 - k, RescaleType="HU"),
                ],
            )
        )
        frames.append(hu[:, :, k].T.astype(np.int32) + 1024 + k)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.NumberOfFrames = len(frames)
    store(dataset, np.stack(frames))
    dataset.save_as(path, enforce_file_format=True)
    return path


def rewrite(path: Path, change: Callable[[Dataset], Any]) -> None:
    """Change a written file."""
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path, enforce_file_format=True)


def _dataset(sop_class: str, instance: str, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = sop_class, instance, uid
    dataset.Modality = "CT"
    return dataset


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def radiograph(stored: np.ndarray, *, bits: int = 12, signed: bool = False, **attributes: Any) -> FileDataset:
    """A DX dataset of stored values, (row, column) grey or (row, column, 3) RGB of 8 bits, and any other attributes."""
    instance = generate_uid(entropy_srcs=[stored.tobytes().hex(), repr(sorted(attributes))])
    dataset = _dataset("1.2.840.10008.5.1.4.1.1.1.1", instance, SERIES + ".8")
    dataset.Modality, dataset.PresentationIntentType = "DX", "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    if stored.ndim == 3:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.Rows, dataset.Columns = stored.shape[:2]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
        dataset.PixelData = stored.astype(np.uint8).tobytes() + b"\0" * (stored.size % 2)
    else:
        store(dataset, stored, bits, signed)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def write_radiograph(path: Path, stored: np.ndarray, **attributes: Any) -> Path:
    """Write one DX file; see `radiograph`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    radiograph(stored, **attributes).save_as(path, enforce_file_format=True)
    return path


def lut_item(first_mapped: int, table: Sequence[int], bits: int) -> Dataset:
    """One item of a Modality or VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(table), first_mapped, bits])
    item.add_new("LUTData", "US", list(table))
    return item
