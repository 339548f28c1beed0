"""What a DICOM file says about itself, read without its pixels."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
import pydicom.config

from radseg.pipelines.io.arrangement import Slice
from radseg.pipelines.io.functional_groups import frame_attribute

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SCREEN_WORDS = {"SCREEN SAVE", "SCREENSHOT", "DOSE_INFO"}
RADIOGRAPH_MODALITIES = ("DX", "CR", "RG")
"""Projection radiographs in PS3.3 C.7.3.1.1.1: digital, computed, and digitised film."""
DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
_KEYWORDS = [
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PixelRepresentation", "BitsAllocated"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "PhotometricInterpretation"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
# The pixel elements (7FE0,0010), (7FE0,0009) and (7FE0,0008) as they stand in little- and big-endian files.
_PIXEL_TAGS = {
    *(bytes([0xE0, 0x7F, element, 0x00]) for element in (0x10, 0x09, 0x08)),
    *(bytes([0x7F, 0xE0, 0x00, element]) for element in (0x10, 0x09, 0x08)),
}


@dataclass(frozen=True)
class Header:
    """One DICOM file.

    Attributes:
        path: the file.
        series_uid: SeriesInstanceUID, None when absent or empty.
        instance_uid: SOPInstanceUID, None when absent or empty.
        sop_class: SOPClassUID, "" when absent.
        modality: Modality, "" when absent.
        image_type: ImageType, and FrameType of the first frame when there is one, in capitals.
        rows, columns: 0 when the file is no image.
        frames: NumberOfFrames, 1 when absent.
        samples_per_pixel: 3 for colour.
        photometric: PhotometricInterpretation, "" when absent.
        slices: where each frame lies; None for a frame without position, orientation or spacing.
        rescale_intercept: of the first frame, None when absent.
        rescale_type: RescaleType of the first frame, "" when absent.
        pixel_trouble: "" when the pixel data is there and whole.
        file_state: the file's size in bytes and time of change in ns when this was read.
    """

    path: Path
    series_uid: str | None
    instance_uid: str | None
    sop_class: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frames: int
    samples_per_pixel: int
    photometric: str
    slices: tuple[Slice | None, ...]
    rescale_intercept: float | None
    rescale_type: str
    pixel_trouble: str
    file_state: tuple[int, int]


def looks_like_dicom(path: Path) -> bool:
    """Whether the file starts as DICOM does: with the preamble or, if its name doesn't say otherwise, with a first tag.

    Raises:
        OSError: the file can't be opened.
    """
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return True
    suffix = path.suffix.lower()
    nameless = suffix in ("", ".dcm", ".ima", ".dicom") or suffix[1:].isdigit()
    return nameless and start[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08") and len(start) == 132


def read_header(path: Path) -> Header | None:
    """The file's header; None when it can't be parsed as DICOM or is a DICOMDIR.

    Raises:
        OSError: the file can't be opened.
    """
    with path.open("rb") as file, quiet_pydicom():
        state = _file_state(os.fstat(file.fileno()))
        try:
            dataset = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=_KEYWORDS)
            trouble = _pixel_trouble(file, dataset, path, state[0])
            return _header(path, dataset, trouble, state)
        except OSError:
            raise
        except Exception:  # pydicom has no single error for a damaged file
            return None


class _Quiet:
    """What `quiet_pydicom` switches off belongs to the process: the first thread does it, the last one undoes it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.undo = ExitStack()

    def enter(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.undo.enter_context(warnings.catch_warnings())
                self.undo.enter_context(pydicom.config.disable_value_validation())
                warnings.simplefilter("ignore")
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.undo.close()


_QUIET = _Quiet()


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Reads values that break the standard's rules without a warning for each: what matters is checked here."""
    _QUIET.enter()
    try:
        yield
    finally:
        _QUIET.leave()


def numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """A DICOM value as that many finite floats, or None."""
    if value is None or value == "":
        return None
    values = value if isinstance(value, pydicom.multival.MultiValue | list | tuple) else [value]
    try:
        floats = tuple(float(one) for one in values)
    except (TypeError, ValueError):
        return None
    return floats if len(floats) == count and np.isfinite(floats).all() else None


def unchanged(header: Header) -> bool:
    """Whether the file has the size and time of change that it had when its header was read."""
    try:
        return _file_state(header.path.stat()) == header.file_state
    except OSError:
        return False


def _file_state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _header(path: Path, dataset: Any, pixel_trouble: str, file_state: tuple[int, int]) -> Header | None:
    meta = getattr(dataset, "file_meta", None) or {}
    sop_class = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    if sop_class == MEDIA_DIRECTORY or not (sop_class or dataset.get("Rows") or dataset.get("Modality")):
        return None
    frames = int(dataset.get("NumberOfFrames") or 1)
    enhanced = "SharedFunctionalGroupsSequence" in dataset or "PerFrameFunctionalGroupsSequence" in dataset
    frame_type = frame_attribute(dataset, 0, "CTImageFrameTypeSequence", "FrameType") or ()
    intercept = dataset.get("RescaleIntercept")
    rescale_type = dataset.get("RescaleType")
    if enhanced:
        intercept = frame_attribute(dataset, 0, "PixelValueTransformationSequence", "RescaleIntercept")
        rescale_type = frame_attribute(dataset, 0, "PixelValueTransformationSequence", "RescaleType")
    floats = numbers(intercept, 1)
    return Header(
        path=path,
        series_uid=str(dataset.get("SeriesInstanceUID") or "").strip() or None,
        instance_uid=str(dataset.get("SOPInstanceUID") or "").strip() or None,
        sop_class=sop_class,
        modality=str(dataset.get("Modality") or "").strip().upper(),
        image_type=(*_words(dataset.get("ImageType")), *_words(frame_type)),
        rows=int(dataset.get("Rows") or 0),
        columns=int(dataset.get("Columns") or 0),
        frames=frames,
        samples_per_pixel=int(dataset.get("SamplesPerPixel") or 1),
        photometric=str(dataset.get("PhotometricInterpretation") or "").strip().upper(),
        slices=tuple(_slice(dataset, frame if enhanced else None) for frame in range(frames)),
        rescale_intercept=floats[0] if floats else None,
        rescale_type=str(rescale_type or "").strip().upper(),
        pixel_trouble=pixel_trouble,
        file_state=file_state,
    )


def _slice(dataset: Any, frame: int | None) -> Slice | None:
    def value(sequence: str, keyword: str) -> Any:
        return dataset.get(keyword) if frame is None else frame_attribute(dataset, frame, sequence, keyword)

    position = numbers(value("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    spacing = numbers(value("PixelMeasuresSequence", "PixelSpacing"), 2)
    thickness = numbers(value("PixelMeasuresSequence", "SliceThickness"), 1)
    if position is None or orientation is None or spacing is None:
        return None
    return Slice(
        position_mm=(position[0], position[1], position[2]),
        row_direction=(orientation[0], orientation[1], orientation[2]),
        column_direction=(orientation[3], orientation[4], orientation[5]),
        pixel_spacing_mm=(spacing[0], spacing[1]),
        rows=int(dataset.get("Rows") or 0),
        columns=int(dataset.get("Columns") or 0),
        thickness_mm=thickness[0] if thickness else None,
    )


def _pixel_trouble(file: BinaryIO, dataset: Any, path: Path, size: int) -> str:
    """What is wrong with the pixel element that reading stopped before; "" when nothing is."""
    syntax = str((getattr(dataset, "file_meta", None) or {}).get("TransferSyntaxUID") or "")
    if syntax in DEFLATED:
        return "" if "PixelData" in pydicom.dcmread(path, specific_tags=["PixelData"]) else "no PixelData"
    element = file.read(12)
    if element[:4] not in _PIXEL_TAGS:
        return "no PixelData"
    little = element[0] == 0xE0
    explicit = element[4:6].isalpha()
    length = int.from_bytes(element[8:12] if explicit else element[4:8], "little" if little else "big")
    there = size - file.tell() + (0 if explicit else 4)
    return "PixelData cut off" if length != 0xFFFFFFFF and there < length else ""


def _words(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    values = [value] if isinstance(value, str) else value
    return tuple(str(word).strip().upper() for word in values)
