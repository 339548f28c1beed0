"""The source images as objects derived from them refer to them: whatever their headers lack or break is mended."""

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.tag import BaseTag
from pydicom.valuerep import DA, DS, TM, PersonName, validate_value

from radseg.pipelines.dicom_out.source import Source, SourceFrame
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.arrangement import SAME_PLACE_MM

_CLASS_OF_MODALITY = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
}
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
"""Type 2 of the Patient and General Study Modules (PS3.3 C.7.1.1, C.7.2.1): there, but empty where not known."""
_OF_ONE_IMAGE = ("SOPClassUID", "SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_CHECKED = ("AS", "CS", "DA", "DS", "DT", "IS", "TM", "UR")
_TEXT = ("LO", "SH", "LT", "ST", "UC", "UT")
_LAST_GROUP = 0x0027  # what lies beyond it says how the image was made and what it looks like
_STEP_TOLERANCE_MM = 0.01


def made_uid(what: str, of: str) -> str:
    """A UID (PS3.5 B.2) for what a source has none of, the same for all that is derived from that source."""
    digest = hashlib.sha256(f"{what}\n{of}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def distinct_frames(source: Source) -> tuple[SourceFrame, ...]:
    """The frames but those that lie where an earlier one does: copies of it."""
    kept: list[SourceFrame] = []
    for frame in source.frames:
        if kept and frame.plane is not None and kept[-1].plane is not None:
            apart = np.subtract(frame.plane.position_mm, kept[-1].plane.position_mm)
            if np.linalg.norm(apart) < SAME_PLACE_MM:
                continue
        kept.append(frame)
    return tuple(kept)


def identity_of(source: Source) -> pydicom.Dataset:
    """Patient, study, series and frame of reference of the source, with what the standard demands filled in.

    StudyInstanceUID, SeriesInstanceUID and (of sectional images) FrameOfReferenceUID that are missing are made of the
    ids that are there; other demanded attributes that are missing or hold no valid value are empty. Dates, codes and
    numbers that aren't valid are left out, as are private attributes. Text is Unicode (ISO_IR 192).

    Raises:
        InputError: no image has a SOPInstanceUID.
    """
    identity = pydicom.Dataset()
    for tag in source.headers[0].keys():  # noqa: SIM118 - going through elements would parse all of them
        passes = tag.group <= _LAST_GROUP and keyword_for_tag(tag) not in _OF_ONE_IMAGE
        element = _sound(source.headers[0], tag) if passes or keyword_for_tag(tag) in _LOSSY else None
        if element is not None:
            identity.add(element)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in identity:
            setattr(identity, keyword, "")
    if identity.PatientSex not in ("M", "F", "O"):
        identity.PatientSex = ""
    anchor = identity.get("SeriesInstanceUID") or instance_uid(source, 0)
    identity.SeriesInstanceUID = identity.get("SeriesInstanceUID") or made_uid("SeriesInstanceUID", anchor)
    identity.StudyInstanceUID = identity.get("StudyInstanceUID") or made_uid("StudyInstanceUID", anchor)
    sectional = source.frames[0].plane is not None
    frame_of_reference = identity.get("FrameOfReferenceUID") or made_uid("FrameOfReferenceUID", anchor)
    if sectional:
        identity.FrameOfReferenceUID = frame_of_reference
    elif "FrameOfReferenceUID" in identity:
        del identity.FrameOfReferenceUID
    identity.SpecificCharacterSet = "ISO_IR 192"
    return identity


def instance_uid(source: Source, file: int) -> str:
    """SOPInstanceUID of one of the source's headers.

    Raises:
        InputError: it has none, so nothing can refer to it.
    """
    header = source.headers[file]
    uid = header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID")
    if not uid or not _writable_uid(str(uid)):
        path = list(dict.fromkeys(frame.path for frame in source.frames))[file]
        raise InputError(f"{path}: no valid SOPInstanceUID to refer to; export the original images for DICOM output")
    return str(uid)


def sop_class(source: Source, file: int) -> str:
    """SOPClassUID of one of the source's headers; of one without it, that of its Modality's images."""
    header = source.headers[file]
    uid = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    return str(uid or _CLASS_OF_MODALITY.get(str(header.get("Modality")), _CLASS_OF_MODALITY["CT"]))


def regular_step_mm(frames: Sequence[SourceFrame]) -> float | None:
    """The one distance between neighbours along the normal, None where there isn't one or the stack is tilted."""
    planes = [frame.plane for frame in frames if frame.plane is not None]
    if len(planes) < 2:
        return planes[0].thickness_mm or None if planes else None
    steps = np.array([np.subtract(after.position_mm, before.position_mm) for before, after in pairwise(planes)])
    normal = np.cross(planes[0].row_direction, planes[0].column_direction)
    upright = abs(np.linalg.norm(steps, axis=1) - abs(steps @ normal)).max() < _STEP_TOLERANCE_MM
    lengths = abs(steps @ normal)
    return float(lengths.mean()) if upright and np.ptp(lengths) < _STEP_TOLERANCE_MM else None


def decimals(values: Sequence[float]) -> list[DS]:
    """Numbers as DICOM's decimal strings of at most 16 characters (PS3.5 6.2)."""
    return [DS(float(value), auto_format=True) for value in values]


def _sound(header: pydicom.Dataset, tag: BaseTag) -> pydicom.DataElement | None:
    """An element that can go on: text and ids as they are, since they must match the source's; others if valid."""
    if tag.is_private or not dictionary_has_tag(tag):
        return None
    vr = dictionary_VR(tag)
    try:
        element = header[tag]
        values = element.value if element.VM > 1 else [element.value]
        if vr == "UI" and not (element.value and _writable_uid(str(element.value))):
            return None
        if vr == "PN":
            names = [PersonName(str(value or "")) for value in values]
            return pydicom.DataElement(tag, vr, names[0] if dictionary_VM(tag) == "1" else names)
        if vr in _CHECKED:
            for value in values:
                validate_value(vr, None if value is None else str(value), pydicom.config.RAISE)
            if vr in ("DA", "TM") and element.value:
                DA(element.value) if vr == "DA" else TM(element.value)
        return element if vr == element.VR and vr in (*_CHECKED, *_TEXT, "UI", "SQ") else None
    except Exception:  # pydicom has no single error for a value that can't be read
        return None


def _writable_uid(uid: str) -> bool:
    """Whether it has the characters and length of a UID: one with a leading zero names its object all the same."""
    return re.fullmatch(r"[0-9.]{1,64}", uid) is not None
