"""What every object of a case says alike: whose it is, in which study, and where its series stands in it."""

from copy import copy

from pydicom.dataset import Dataset

PATIENT_AND_STUDY = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID"),
    *("StudyDescription", "AccessionNumber", "ReferringPhysicianName", "TimezoneOffsetFromUTC"),
)
_MOST = 2**31 - 1  # of VR IS


def inherit(dataset: Dataset, identity: Dataset) -> None:
    """Puts the patient and study of a source's `identity_of` into an object made of it."""
    for keyword in PATIENT_AND_STUDY:
        if keyword in identity:
            dataset[keyword] = copy(identity[keyword])


def series_number(identity: Dataset, first: int) -> int:
    """SeriesNumber of an object made of a series: so far behind it that the kinds of objects stay apart."""
    return min(first + max(int(identity.get("SeriesNumber") or 0), 0), _MOST)
