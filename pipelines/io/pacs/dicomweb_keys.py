"""The keys that studies and series are asked for by, and whether an answer has them (PS3.18 10.6, PS3.4 C.2.2.2)."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

STUDY_KEYS = {
    "StudyDate": "DA",
    "StudyTime": "TM",
    "AccessionNumber": "SH",
    "ModalitiesInStudy": "CS",
    "ReferringPhysicianName": "PN",
    "PatientName": "PN",
    "PatientID": "LO",
    "IssuerOfPatientID": "LO",
    "PatientBirthDate": "DA",
    "PatientSex": "CS",
    "StudyInstanceUID": "UI",
    "StudyID": "SH",
    "StudyDescription": "LO",
}
"""Keywords of patient and study with their value representation."""

SERIES_KEYS = {
    "Modality": "CS",
    "SeriesInstanceUID": "UI",
    "SeriesNumber": "IS",
    "SeriesDescription": "LO",
    "SeriesDate": "DA",
    "SeriesTime": "TM",
    "BodyPartExamined": "CS",
    "Laterality": "CS",
    "ProtocolName": "LO",
    "Manufacturer": "LO",
    "StationName": "SH",
    "PerformedProcedureStepStartDate": "DA",
    "PerformedProcedureStepStartTime": "TM",
}
"""Keywords of series with their value representation."""

_AS_THEY_ARE = "*?,:/"
_FORMS = {
    "DA": (re.compile(r"\d{8}|\d{8}-(\d{8})?|-\d{8}"), "is no date; give 20260131 or a range 20260101-20260131"),
    "TM": (re.compile(r"(?=.*\d)[\d.]*(-[\d.]*)?"), "is no time; give a range such as 0800-1430"),
    "IS": (re.compile(r"[+-]?\d{1,12}"), "is no whole number"),
    "UI": (re.compile(r"[0-9.]{1,64}([,\\][0-9.]{1,64})*"), "is no UID (digits and dots, at most 64)"),
}


def value_trouble(vr: str, value: str) -> str:
    """What is wrong with the value of a key; "" when nothing is."""
    if not value or not value.isprintable() or len(value) > 4096:
        return "is empty or can't be matched; leave the key out, or give a value"
    form, trouble = _FORMS.get(vr, (None, ""))
    return "" if form is None or form.fullmatch(value) else trouble


def query_text(keys: Mapping[str, str], *, guarded: bool = False) -> str:
    """Keys as the query of a URL, in which `*` and `?` stay as they are (PS3.18 section 8.3.4).

    Args:
        keys: keyword or parameter to value.
        guarded: put the wildcard `?` for what would have to be percent-encoded: there are servers, Orthanc's plug-in
            1.7 among them, that don't decode it and so find nothing.
    """
    said = []
    for keyword, value in keys.items():
        value = value.replace("\\", ",")
        if guarded:
            value = "".join(letter if quote(letter, safe=_AS_THEY_ARE) == letter else "?" for letter in value)
        said.append(f"{keyword}={quote(value, safe=_AS_THEY_ARE)}")
    return "&".join(said)


def values_of(answer: dict[str, Any], keyword: str) -> list[str]:
    """The values of an attribute in a DICOM JSON object (PS3.18 F.2.2); of names, every component group."""
    from pydicom.datadict import tag_for_keyword

    element = answer.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    found: list[str] = []
    for value in values if isinstance(values, list) else ():
        groups = value.values() if isinstance(value, dict) else [value]
        found += [str(group).strip(" \0") for group in groups if group is not None]
    return [value for value in found if value]


def matches(vr: str, wanted: str, values: Sequence[str]) -> bool:
    """Whether one of an attribute's values is what was asked for; False without a value.

    Case and accents don't count, since servers differ there and what they chose isn't to be lost.
    """
    return any(_matches(vr, wanted, value) for value in values)


def _matches(vr: str, wanted: str, value: str) -> bool:
    if vr in ("DA", "TM"):
        first, dash, last = wanted.partition("-")
        last = last if dash else first
        moment = _filled(vr, value, "0")
        return moment >= _filled(vr, first, "0") and (not last or moment <= _filled(vr, last, "9"))
    if vr == "UI":
        return value in re.split(r"[,\\]", wanted)
    if vr == "IS":
        return _number(value) == int(wanted)
    pattern = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in _folded(vr, wanted))
    return re.fullmatch(pattern, _folded(vr, value), re.DOTALL) is not None


def _filled(vr: str, text: str, fill: str) -> str:
    """A date or time with every digit, so that texts compare as moments do."""
    whole, _, part = text.replace(":", "").partition(".") if vr == "TM" else (re.sub(r"[.-]", "", text), "", "")
    return whole.ljust(8 if vr == "DA" else 6, fill) + part.ljust(6, fill)


def _folded(vr: str, text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.strip().casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain.rstrip("^") if vr == "PN" else plain


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
