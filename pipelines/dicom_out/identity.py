"""Whose images the source's are, in which study and series: what every object made of them says alike."""

from copy import copy

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.tag import BaseTag
from pydicom.valuerep import DA, TM, PersonName, validate_value

from radseg.pipelines.dicom_out.finding import made_uid
from radseg.pipelines.dicom_out.referenced import instance_uid, is_uid
from radseg.pipelines.dicom_out.source import Source
from radseg.pipelines.io.dicom.values import numbers

_PATIENT_AND_STUDY = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID"),
    *("StudyDescription", "AccessionNumber", "ReferringPhysicianName", "TimezoneOffsetFromUTC"),
)
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
_MOST = 2**31 - 1  # of VR IS


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
    frame_of_reference = identity.get("FrameOfReferenceUID") or made_uid("FrameOfReferenceUID", anchor)
    if not source.is_radiograph:
        identity.FrameOfReferenceUID = frame_of_reference
    elif "FrameOfReferenceUID" in identity:
        del identity.FrameOfReferenceUID
    identity.SpecificCharacterSet = "ISO_IR 192"
    return identity


def inherit(dataset: pydicom.Dataset, identity: pydicom.Dataset) -> None:
    """Puts the patient and study of a source's `identity_of` into an object made of it."""
    for keyword in _PATIENT_AND_STUDY:
        if keyword in identity:
            dataset[keyword] = copy(identity[keyword])


def series_number(identity: pydicom.Dataset, first: int) -> int:
    """SeriesNumber of an object made of a series: so far behind it that the kinds of objects stay apart."""
    of_source = numbers(identity.get("SeriesNumber"), 1) or (0,)
    return min(first + max(int(of_source[0]), 0), _MOST)


def _read(header: pydicom.Dataset, tag: BaseTag) -> pydicom.DataElement:
    """An element; text that isn't in the character set that the header declares is taken as Latin-1, which it often is.

    Otherwise its letters would be lost, and a PatientID no longer be the archive's.
    """
    stored = header.get_item(tag)
    if not isinstance(stored, RawDataElement):
        return header[tag]
    element = convert_raw_data_element(stored, encoding=header.original_character_set, ds=header)
    lost = "\ufffd"  # what stands for bytes that aren't of the character set
    if element.VR in (*_TEXT, "PN") and lost in str(element.value) and lost.encode() not in (stored.value or b""):
        return convert_raw_data_element(stored, encoding="latin_1", ds=header)
    return element


def _sound(header: pydicom.Dataset, tag: BaseTag) -> pydicom.DataElement | None:
    """An element that can go on: text and ids as they are, since they must match the source's; others if valid."""
    if tag.is_private or not dictionary_has_tag(tag):
        return None
    vr = dictionary_VR(tag)
    try:
        element = _read(header, tag)
        values = element.value if element.VM > 1 else [element.value]
        if vr == "UI" and not (element.value and is_uid(str(element.value))):
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
