"""What a DICOM file says about itself, read without its pixels."""

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
import pydicom.config
from pydicom.filereader import read_partial

from radseg.pipelines.io.dicom.arrangement import Slice
from radseg.pipelines.io.dicom.functional_groups import frame_attribute, frames_told_of, is_enhanced, values_of_frames
from radseg.pipelines.io.dicom.pixel_element import claims_trouble, pixel_element_trouble
from radseg.pipelines.io.dicom.stream import dicom_stream
from radseg.pipelines.io.dicom.values import Values, numbers, words
from radseg.pipelines.io.volume import first_line

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SCREEN_WORDS = {"SCREEN SAVE", "SCREENSHOT", "DOSE_INFO"}
RADIOGRAPH_MODALITIES = ("DX", "CR", "RG")
"""Projection radiographs in PS3.3 C.7.3.1.1.1: digital, computed, and digitised film."""
_TAGS = [
    pydicom.tag.Tag(keyword)
    for keyword in (
        *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "AcquisitionNumber", "Modality"),
        *("ImageType", "GantryDetectorTilt", "TemporalPositionIdentifier"),
        *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PixelRepresentation", "BitsAllocated"),
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
        *("RescaleIntercept", "RescaleSlope", "RescaleType", "PhotometricInterpretation", "ModalityLUTSequence"),
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    )
]
_MOST_MM = 1e6
_MOST_SIDE = 65_535
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "ImageType")
_IDENTITY_TAGS = [pydicom.tag.Tag(keyword) for keyword in _IDENTITY]


@dataclass(frozen=True)
class Header:
    """One DICOM file.

    Attributes:
        path: the file.
        series_uid: SeriesInstanceUID, None when absent or empty.
        instance_uid: SOPInstanceUID, None when absent or empty.
        sop_class: SOPClassUID, "" when absent.
        modality: Modality, "" when absent.
        image_type: ImageType, and the words of every frame's FrameType, in capitals.
        rows, columns: 0 when the file is no image.
        frames: NumberOfFrames, 1 when absent.
        samples_per_pixel: 3 for colour.
        photometric: PhotometricInterpretation, "" when absent.
        slices: where each frame lies; None for a frame without position, orientation or spacing. Empty where
            NumberOfFrames can't be true.
        rescale_intercept: of the first frame, None when absent.
        rescale_type: RescaleType, "" when absent; of frames that differ all of them, as in "HU, Z_EFF".
        pixel_trouble: "" when the header is sound and the pixel data there and whole.
        file_state: the file's size in bytes and time of change in ns when this was read.
        study_uid: StudyInstanceUID, None when absent or empty.
        acquisition_number: AcquisitionNumber, None when absent or no whole number.
        temporal_position: TemporalPositionIdentifier, None when absent or no whole number.
        gantry_tilt_degrees: GantryDetectorTilt, of the first frame in an enhanced image; None when absent.
        pixel_keyword: "PixelData", "FloatPixelData" or "DoubleFloatPixelData"; "" when there is none.
        modality_lut: whether a table (ModalityLUTSequence) stands for the rescale.
        damage: "" when the header could be read, else what is broken in it; the rest may be wrong or missing then.
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
    study_uid: str | None = None
    acquisition_number: int | None = None
    temporal_position: int | None = None
    gantry_tilt_degrees: float | None = None
    pixel_keyword: str = "PixelData"
    modality_lut: bool = False
    damage: str = ""


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
    """The file's header; None when it isn't DICOM or is a DICOMDIR.

    A file that starts as DICOM does and is broken further on has a header that says so.

    Raises:
        OSError: the file can't be opened.
    """
    with path.open("rb") as file, quiet_pydicom():
        state = _file_state(os.fstat(file.fileno()))
        starts_as_dicom = file.read(132)[128:] == b"DICM"
        file.seek(0)
        try:
            stream = dicom_stream(file)
            dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=_TAGS)
            return _header(path, dataset, stream, state, None if stream is not file else state[0], starts_as_dicom)
        except Exception as error:  # pydicom has no single error for a damaged file
            if not starts_as_dicom:
                return None
            return _broken_header(path, file, state, f"its header can't be read ({first_line(error)[:100]})")


_PYDICOM_LOG = logging.getLogger("pydicom")


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
                # each of its warnings is also logged, with the value in question, which may be a patient's
                self.undo.callback(_PYDICOM_LOG.setLevel, _PYDICOM_LOG.level)
                _PYDICOM_LOG.setLevel(logging.CRITICAL)
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


def unchanged(header: Header) -> bool:
    """Whether the file has the size and time of change that it had when its header was read."""
    try:
        return _file_state(header.path.stat()) == header.file_state
    except OSError:
        return False


def _file_state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _header(
    path: Path, dataset: Any, stream: BinaryIO, state: tuple[int, int], end: int | None, starts_as_dicom: bool
) -> Header | None:
    values = Values(dataset)
    meta = getattr(dataset, "file_meta", None) or {}
    sop_class = values.text("SOPClassUID") or str(meta.get("MediaStorageSOPClassUID") or "")
    modality = values.text("Modality").upper()
    if sop_class == MEDIA_DIRECTORY:
        return None
    rows, columns = (values.whole(keyword, 0, _MOST_SIDE) for keyword in ("Rows", "Columns"))
    if not (sop_class or rows or modality):
        return _broken_header(path, None, state, "its header is cut off") if starts_as_dicom else None
    frames = values.whole("NumberOfFrames", 1, 1 << 40)
    samples = values.whole("SamplesPerPixel", 1, _MOST_SIDE)
    image = {"Rows": rows, "Columns": columns, "NumberOfFrames": frames, "SamplesPerPixel": samples}
    image["BitsAllocated"] = values.whole("BitsAllocated", 0, 64)
    syntax = pydicom.uid.UID(str(meta.get("TransferSyntaxUID") or ""))
    encapsulated = syntax.is_transfer_syntax and syntax.is_encapsulated
    implicit, little = dataset.original_encoding
    pixels = pixel_element_trouble(stream, (bool(implicit), little is not False), image, encapsulated, end)
    claims = claims_trouble(rows, columns, frames, state[0])
    slices = () if claims and frames > 1 else _slices(values, frames, rows, columns)
    intercept, types, frame_types = values.of("RescaleIntercept", matters=False), [values.of("RescaleType")], []
    tilt, acquisition = (values.of(keyword, matters=False) for keyword in ("GantryDetectorTilt", "AcquisitionNumber"))
    if is_enhanced(dataset):
        intercept = frame_attribute(dataset, 0, "PixelValueTransformationSequence", "RescaleIntercept")
        types = list(values_of_frames(dataset, "PixelValueTransformationSequence", "RescaleType"))
        frame_types = [*values_of_frames(dataset, "CTImageFrameTypeSequence", "FrameType")]
        tilt_of_frame = frame_attribute(dataset, 0, "CTGeometrySequence", "GantryDetectorTilt")
        tilt = tilt if tilt_of_frame is None else tilt_of_frame
        acquisition = frame_attribute(dataset, 0, "FrameContentSequence", "FrameAcquisitionNumber") or acquisition
    if not (rows and columns) and _is_of_an_image(sop_class):
        values.damage = values.damage or "no Rows or Columns, so no image"
    intercepts, tilts = (numbers(value, 1) for value in (intercept, tilt))
    said = dict.fromkeys(" ".join(words(one)) for one in types if one)
    of_frames = dict.fromkeys(word for one in frame_types for word in words(one))
    return Header(
        path=path,
        series_uid=values.text("SeriesInstanceUID") or None,
        instance_uid=values.text("SOPInstanceUID") or None,
        sop_class=sop_class,
        modality=modality,
        image_type=(*words(values.of("ImageType")), *of_frames),
        rows=rows,
        columns=columns,
        frames=frames,
        samples_per_pixel=samples,
        photometric=values.text("PhotometricInterpretation").upper(),
        slices=slices,
        rescale_intercept=intercepts[0] if intercepts else None,
        rescale_type=", ".join(said),
        pixel_trouble=values.damage or claims or pixels[1],
        file_state=state,
        study_uid=values.text("StudyInstanceUID") or None,
        acquisition_number=_whole(acquisition),
        temporal_position=_whole(values.of("TemporalPositionIdentifier", matters=False)),
        gantry_tilt_degrees=tilts[0] if tilts else None,
        pixel_keyword=pixels[0],
        modality_lut=bool(values.of("ModalityLUTSequence")),
        damage=values.damage,
    )


def _whole(value: Any) -> int | None:
    """A value as a whole number; None where it isn't one."""
    found = numbers(value, 1)
    return int(found[0]) if found and found[0].is_integer() else None


def _is_of_an_image(sop_class: str) -> bool:
    """Whether a SOP class is one of the standard's for images."""
    uid = pydicom.uid.UID(sop_class)
    return not uid.is_private and "Image" in uid.name


def _broken_header(path: Path, file: BinaryIO | None, state: tuple[int, int], damage: str) -> Header:
    """What can be said of a broken file: its series, if the break is behind that."""
    dataset, until = pydicom.Dataset(), pydicom.tag.Tag("Rows")
    if file is not None:
        file.seek(0)
        with contextlib.suppress(Exception):
            dataset = read_partial(
                dicom_stream(file), lambda tag, vr, length: tag >= until, force=True, specific_tags=_IDENTITY_TAGS
            )
    values = Values(dataset)
    sop_class, modality = values.text("SOPClassUID"), values.text("Modality").upper()
    series, instance, study = (
        values.text(keyword) or None for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "StudyInstanceUID")
    )
    image_type = words(values.of("ImageType"))
    return Header(
        path, series, instance, sop_class, modality, image_type, 0, 0, 1, 1, "", (None,), None, "", damage, state,
        study, pixel_keyword="", damage=damage,
    )  # fmt: skip


def _slices(values: Values, frames: int, rows: int, columns: int) -> tuple[Slice | None, ...]:
    """Where each frame lies; those that have no groups of their own lie at one place."""
    if not is_enhanced(values.dataset):
        return (_slice(values, None, rows, columns),) * frames
    own = min(frames, frames_told_of(values.dataset))
    told = [_slice(values, frame, rows, columns) for frame in range(own)]
    return (*told, *((_slice(values, own, rows, columns),) * (frames - own) if own < frames else ()))


def _slice(values: Values, frame: int | None, rows: int, columns: int) -> Slice | None:
    def found(sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
        value = values.of(keyword) if frame is None else frame_attribute(values.dataset, frame, sequence, keyword)
        lengths = numbers(value, count)
        if value and (lengths is None or max(map(abs, lengths)) > _MOST_MM):
            values.spoilt(keyword)
            return None
        return lengths

    position = found("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = found("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = found("PixelMeasuresSequence", "PixelSpacing", 2)
    thickness = numbers(
        values.of("SliceThickness", matters=False)
        if frame is None
        else frame_attribute(values.dataset, frame, "PixelMeasuresSequence", "SliceThickness"),
        1,
    )
    if position is None or orientation is None or spacing is None:
        return None
    return Slice(
        position_mm=(position[0], position[1], position[2]),
        row_direction=(orientation[0], orientation[1], orientation[2]),
        column_direction=(orientation[3], orientation[4], orientation[5]),
        pixel_spacing_mm=(spacing[0], spacing[1]),
        rows=rows,
        columns=columns,
        thickness_mm=thickness[0] if thickness and thickness[0] < _MOST_MM else None,
    )
