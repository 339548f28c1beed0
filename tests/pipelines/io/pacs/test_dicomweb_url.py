"""DICOMweb URLs are understood, or refused in a line that gives nothing away."""

from pathlib import Path

import pytest

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.pacs.dicomweb_keys import matches, query_text
from radseg.pipelines.io.pacs.dicomweb_url import DicomwebUrl, is_dicomweb, parse

BASE = "dicomweb+https://pacs.example/dicom-web"


def test_a_study_a_series_and_the_service_are_named() -> None:
    base = "https://pacs.example/dicom-web"
    assert parse(f"{BASE}/studies/1.2.3/") == DicomwebUrl(base, "1.2.3")
    assert parse(f"{BASE}/studies/1.2.3/series/4.5") == DicomwebUrl(base, "1.2.3", "4.5")
    assert parse(BASE) == DicomwebUrl(base)
    assert parse("dicomweb+http://[::1]:8042/x/dicom-web/studies/1") == DicomwebUrl(
        "http://[::1]:8042/x/dicom-web", "1"
    )
    assert parse("dicomweb+http://127.0.0.1:8042") == DicomwebUrl("http://127.0.0.1:8042")


def test_a_query_is_split_into_keys_of_study_and_series() -> None:
    url = parse(f"{BASE}/studies?StudyDate=20260101-20260131&Modality=CT&BodyPartExamined=CHEST&PatientID=A%201+2")
    assert url.base == "https://pacs.example/dicom-web"
    assert url.study_keys == (("StudyDate", "20260101-20260131"), ("PatientID", "A 1 2"))
    assert url.series_keys == (("Modality", "CT"), ("BodyPartExamined", "CHEST"))


def test_the_values_of_a_query_are_never_shown() -> None:
    url = parse(f"{BASE}?PatientID=SECRET&PatientName=SECRET&Modality=CT")
    assert url.shown == BASE
    assert url.said == f"{BASE} (query by PatientID, PatientName, Modality)"
    assert "SECRET" not in f"{url!r}{url}{url.said}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("dicomweb+https://me:SECRET@pacs.example/dicom-web/studies/1", "a user or password in a URL"),
        ("dicomweb+https://SECRET@pacs.example/studies/1", "a user or password in a URL"),
        (f"{BASE}/studies/SECRET'", "is no UID"),
        (f"{BASE}/studies/..", "is no UID"),
        (f"{BASE}/studies/{'1' * 65}", "is no UID"),
        (f"{BASE}/studies/1/series/-", "is no UID"),
        (f"{BASE}/studies/1/instances/2", "names no study or series"),
        (f"{BASE}/series/2", "names no study or series"),
        (f"{BASE}/../studies/2", "names no study or series"),
        (f"{BASE}/studies/1?Modality=CT", "give one of both"),
        (f"{BASE}?Modalty=CT", "did you mean Modality"),
        (f"{BASE}?patientid=SECRET", "did you mean PatientID"),
        (f"{BASE}?StudyDate=january", "value of StudyDate is no date"),
        (f"{BASE}?StudyDate=", "value of StudyDate is empty"),
        (f"{BASE}?Modality=CT&Modality=MR", "twice"),
        (f"{BASE}?SECRET", "isn't of the form KEY=VALUE"),
        (f"{BASE}?PatientName=%ff", "isn't of the form KEY=VALUE"),
        (f"{BASE}?PatientID=a%0Ab", "can't be matched"),
        (f"{BASE}/studies/1#x", "that can be used"),
        ("dicomweb+ftp://pacs.example/studies/1", "that can be used"),
        ("dicomweb+http://pacs.example:99999/studies/1", "that can be used"),
        ("dicomweb+http:///studies/1", "no host name"),
        ("dicomweb+http://pacs example/studies/1", "a space, backslash or control character"),
        ("dicomweb+http://pacs.example/studies/1\r\nX: y", "a space, backslash or control character"),
        ("dicomweb+http://[::1/studies/1", "that can be used"),
    ],
)
def test_what_cant_be_used_is_refused_in_one_line(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse(url)
    assert "\n" not in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_only_dicomweb_urls_are_dicomweb() -> None:
    assert is_dicomweb("dicomweb+http://x")
    assert is_dicomweb("DICOMweb+https://x")
    assert not any(map(is_dicomweb, ("https://x", "az://x", "dicomweb", Path("dicomweb+http:/x"))))


@pytest.mark.parametrize(
    ("vr", "wanted", "value", "same"),
    [
        ("DA", "20260101-20260131", "20260131", True),
        ("DA", "20260101-20260131", "20260201", False),
        ("DA", "20260101-", "20251231", False),
        ("DA", "-20260101", "20260101", True),
        ("DA", "20260101", "2026.01.01", True),
        ("TM", "10", "101112", True),
        ("TM", "101112.5", "101112.500000", True),
        ("TM", "0800-1430", "143059.9", True),
        ("TM", "0800-1430", "1431", False),
        ("CS", "CH*", "chest", True),
        ("CS", "CHEST", "CHESTABDPELV", False),
        ("LO", "[x]?", "[x]y", True),
        ("LO", "a.c", "abc", False),
        ("PN", "doe^jane", "DOÉ^JANE^^", True),
        ("IS", "3", "3.0", True),
        ("IS", "3", "x", False),
        ("UI", "1.2,1.3", "1.3", True),
        ("UI", "1.2", "1.20", False),
    ],
)
def test_an_answer_is_compared_as_the_standard_matches(vr: str, wanted: str, value: str, same: bool) -> None:
    assert matches(vr, wanted, [value]) is same
    assert not matches(vr, wanted, [])


def test_wildcards_stay_and_the_rest_is_encoded_or_becomes_a_wildcard() -> None:
    keys = {"PatientName": "DÖE^J*", "SeriesDescription": "a b&c=d?", "StudyInstanceUID": "1.2\\1.3"}
    said = "PatientName=D%C3%96E%5EJ*&SeriesDescription=a%20b%26c%3Dd?&StudyInstanceUID=1.2,1.3"
    assert query_text(keys) == said
    guarded = "PatientName=D?E?J*&SeriesDescription=a?b?c?d?&StudyInstanceUID=1.2,1.3"
    assert query_text(keys, guarded=True) == guarded
