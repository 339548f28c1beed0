"""Series of every kind that a segmentation may lie on, and a plain reader of segmentations."""

from pathlib import Path
from typing import Any

import finding_factory as factory
import numpy as np
import pydicom

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.dicom_out.finding import Finding
from radseg.pipelines.dicom_out.source import read_source

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
NEGATED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
STRAIGHT = ("regular", "oblique", "negated", "reversed", "enhanced")
BENT = ("tilted", "uneven")
KINDS = ("binary", "labelmap", "fractional")


def write(folder: Path, how: str, shape: tuple[int, int, int]) -> Case:
    """A case of (columns, rows, slices); `how` is one of STRAIGHT or BENT."""
    hu = np.zeros(shape, np.int16) + np.arange(shape[2], dtype=np.int16)
    folder.mkdir(parents=True, exist_ok=True)
    if how == "enhanced":
        order = np.random.default_rng(1).permutation(shape[2]).tolist()
        file = factory.dicom.write_enhanced(folder / "enhanced.dcm", hu, orientation=OBLIQUE, order=order)
        dataset = pydicom.dcmread(file)
        for keyword, value in factory.HEADER.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
        return Case("enhanced", InputKind.DICOM, (file,), file)
    options: dict[str, Any] = {
        "regular": {},
        "oblique": {"orientation": OBLIQUE},
        "negated": {"orientation": NEGATED},
        "reversed": {"step_mm": -2.5, "names": lambda k: f"IM{99 - k}.dcm"},
        "tilted": {"shift": (0.0, 0.37, 0.0)},
        "uneven": {},
    }[how]
    factory.series(folder, shape, **options)
    files = sorted(folder.iterdir())
    if how == "uneven":
        for k, file in enumerate(files):
            factory.dicom.rewrite(file, lambda one, k=k: factory.dicom.place(one, (10.0, -20.0, 30.0 + 2.5 * k**1.3)))
    return Case(how, InputKind.DICOM, tuple(files), folder)


def finding(case: Case, mask: np.ndarray, probability: np.ndarray | None = None) -> Finding:
    """Labels and probabilities on an upright grid over the case's frames."""
    made = factory.finding(case, mask)
    return Finding(made.mask, made.affine_ras, made.source, made.segments, made.statistics, probability)


def truth(found: Finding, values: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
    """What each source frame (SOPInstanceUID, number) has to show of a volume, pixel by pixel (rows, columns)."""
    to_voxel = np.linalg.inv(found.affine_ras) @ np.diag([-1, -1, 1, 1])
    frames: dict[tuple[str, int], np.ndarray] = {}
    for frame in found.source.frames:
        plane = frame.plane
        if plane is None:
            return {(found.source.headers[0].SOPInstanceUID, 1): values[:, :, 0].T}
        row, column = np.indices((plane.rows, plane.columns)).reshape(2, -1, 1)
        mm = (
            np.array(plane.position_mm)
            + np.array(plane.row_direction) * column * plane.pixel_spacing_mm[1]
            + np.array(plane.column_direction) * row * plane.pixel_spacing_mm[0]
        )
        voxel = np.rint(mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
        there = ((voxel >= 0) & (voxel < values.shape)).all(1)
        shown = np.zeros(plane.rows * plane.columns, np.uint8)
        shown[there] = values[tuple(voxel[there].T)]
        instance = pydicom.dcmread(frame.path, stop_before_pixels=True).SOPInstanceUID
        frames[instance, frame.number + 1] = shown.reshape(plane.rows, plane.columns)
    return frames


def read_by_hand(file: Path) -> dict[int, dict[tuple[str, int], np.ndarray]]:
    """Frames of a segmentation file by segment (0 of a label map) and source (SOPInstanceUID, frame), by pydicom."""
    dataset = pydicom.dcmread(file)
    shape = (int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
    if dataset.BitsAllocated == 1:
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        pixels = bits[: np.prod(shape)].reshape(shape)
    else:
        pixels = dataset.pixel_array.reshape(shape)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames: dict[int, dict[tuple[str, int], np.ndarray]] = {}
    for group, shown in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        said = group.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
        [image] = group.DerivationImageSequence[0].SourceImageSequence
        at = (str(image.ReferencedSOPInstanceUID), int(image.get("ReferencedFrameNumber", 1)))
        segment = int(said[0].ReferencedSegmentNumber) if said else 0
        assert at not in frames.setdefault(segment, {})
        frames[segment][at] = shown
    return frames


def shown_in(frames: dict[tuple[str, int], np.ndarray], wanted: dict[tuple[str, int], np.ndarray]) -> bool:
    """Whether the frames are the wanted ones that aren't empty, pixel by pixel."""
    filled = {at: plane for at, plane in wanted.items() if plane.any()}
    return frames.keys() == filled.keys() and all(np.array_equal(frames[at], filled[at]) for at in filled)


def volumes_of(found: Finding, kind: str) -> dict[int, np.ndarray]:
    """What a segmentation of that kind says, by segment; 0 is a label map."""
    if kind == "labelmap":
        return {0: found.mask}
    if kind == "binary":
        return {label: (found.mask == label).astype(np.uint8) for label in (1, 2)}
    assert found.probability is not None
    return dict(enumerate(found.probability, 1))


def random_finding(case: Case, seed: int) -> Finding:
    """Labels and probabilities with empty slices, at random."""
    source = read_source(case)
    plane = source.frames[0].plane
    assert plane is not None
    shape = (plane.columns, plane.rows, len(source.frames))
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, shape).astype(np.uint8) * rng.integers(0, 2, shape[2]).astype(np.uint8)
    probability = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
    probability *= rng.integers(0, 2, (2, 1, 1, shape[2])).astype(np.uint8)
    return finding(case, mask, probability)
