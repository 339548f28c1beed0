"""Findings on small DICOM series, for the tests of what is written of them."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dicom_factory as dicom
import numpy as np
import pydicom
import pydicom.config
import pytest
from pydicom.dataset import Dataset

from radseg.pipelines.cases import Case, discover
from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.segments import Code, Segment
from radseg.pipelines.dicom_out.source import read_source
from radseg.pipelines.io.volume import LPS_TO_RAS

ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
LESION = Code("49755003", "SCT", "Morphologically Abnormal Structure")
VERTEBRA = Segment(1, "vertebra", ANATOMY, Code("51282000", "SCT", "Vertebra"), None, (230, 200, 120))
FRACTURE = Segment(
    2, "fractured vertebra", LESION, Code("125605004", "SCT", "Fracture of bone"),
    Code("51282000", "SCT", "Vertebra"), (220, 40, 40),
)  # fmt: skip
SEGMENTS = (VERTEBRA, FRACTURE)
PROVENANCE = {"bundle": "spine", "bundle_version": "0.1.0", "weights_sha256": "ab" * 32, "recipe_sha256": "cd" * 32}
HEADER = {
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.10",
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.11",
    "PatientName": "Tell^Tale",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19600102",
    "PatientSex": "F",
    "StudyDate": "20240305",
    "StudyTime": "101112",
    "StudyID": "S1",
    "AccessionNumber": "ACC-99",
    "ReferringPhysicianName": "Refer^Ring",
    "SeriesNumber": 4,
}


def series(folder: Path, shape: Sequence[int], header: Mapping[str, Any] = HEADER, **where: Any) -> Path:
    """A CT series of (columns, rows, slices) with a header."""
    hu = np.zeros(shape, np.int16) + np.arange(shape[2], dtype=np.int16)

    def fill(_: int, dataset: Dataset) -> None:
        for keyword, value in header.items():
            setattr(dataset, keyword, value)

    with pydicom.config.disable_value_validation():
        return dicom.write_series(folder, hu, change=fill, **where)


def only_case(path: Path, modality: str = "CT") -> Case:
    """The one case that is there."""
    (case,) = discover(path, modality=modality)
    assert isinstance(case, Case)
    return case


def finding(
    case: Case,
    mask: np.ndarray,
    segments: Sequence[Segment] = SEGMENTS,
    statistics: Mapping[str, Any] | None = None,
) -> Finding:
    """A mask on the frames of a case: (column, row, frame), straight along the normal at the frames' mean distance."""
    source = read_source(case)
    planes = [frame.plane for frame in source.frames]
    affine = np.eye(4)
    if planes[0] is not None:
        first = planes[0]
        positions = np.array([plane.position_mm for plane in planes if plane is not None])
        normal = np.cross(first.row_direction, first.column_direction)
        depth = float((positions[-1] - positions[0]) @ normal) / max(len(planes) - 1, 1)
        affine[:3, 0] = np.multiply(first.row_direction, first.pixel_spacing_mm[1])
        affine[:3, 1] = np.multiply(first.column_direction, first.pixel_spacing_mm[0])
        affine[:3, 2] = normal * (depth or 1)
        affine[:3, 3] = positions[0]
    affine = LPS_TO_RAS @ affine
    return Finding(mask.astype(np.uint8), affine, source, segments, statistics or measured(mask, affine, segments))


def measured(mask: np.ndarray, affine: np.ndarray, segments: Sequence[Segment]) -> dict[str, Any]:
    """What statistics.json says of a CT's mask."""
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    labels = {}
    for segment in segments:
        count = int((mask == segment.number).sum())
        volume = round(count * voxel_ml, 3)
        labels[segment.name] = {"label": segment.number, "voxels": count, "volume_ml": volume}
    return {**PROVENANCE, "labels": labels}


def blobs(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Labels 0, 1, 2 with holes, islands and touching corners."""
    rng = np.random.default_rng(seed)
    mask = (rng.random(shape) < 0.55).astype(np.uint8)
    mask[: shape[0] // 2] *= 2
    return mask


def read_back(dataset: Dataset, file: Path) -> Dataset:
    """The dataset as another program finds it."""
    dataset.save_as(file, enforce_file_format=True)
    return pydicom.dcmread(file)


def dciodvfy(file: Path) -> list[str]:
    """The errors that dicom3tools' validator finds; the test is skipped where it isn't installed."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (Debian dicom3tools) is not installed")
    run = subprocess.run([program, str(file)], capture_output=True, text=True, errors="replace", check=False)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]
