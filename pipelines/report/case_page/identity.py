"""Whose image it is, as its DICOM header says; only for pages that are to name the patient."""

from typing import Any

import pydicom

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.io.dicom.header import quiet_pydicom
from radseg.pipelines.io.dicom.stream import dicom_stream


def identity_of(case: Case) -> dict[str, str]:
    """Name, id and study date (PS3.3 C.7.1.1, C.7.2.1) as a person reads them; what isn't there is left out.

    Args:
        case: its first file is read; of a file that isn't DICOM nothing is known.
    """
    if case.kind != InputKind.DICOM:
        return {}
    tags = ["PatientName", "PatientID", "StudyDate"]
    with case.files[0].open("rb") as file, quiet_pydicom():
        header = pydicom.dcmread(dicom_stream(file), specific_tags=tags, stop_before_pixels=True, force=True)
        # components of a name stand between "^", its other scripts behind "="
        name = _text(header.get("PatientName")).replace("=", " ").replace("^", " ")
        date = _text(header.get("StudyDate"))
        found = {"Patient": " ".join(name.split()), "Patient ID": _text(header.get("PatientID")), "Study date": date}
    if len(date) == 8 and date.isdigit():
        found["Study date"] = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return {said: text for said, text in found.items() if text}


def _text(value: Any) -> str:
    return " ".join(str(value or "").split())
