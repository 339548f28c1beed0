"""Whose images an object made of them says they are: names, ids and dates of headers that break the rules."""

from pathlib import Path
from typing import Any

import finding_factory as factory
import pydicom
import pytest

from radseg.pipelines.dicom_out.identity import identity_of, inherit, series_number
from radseg.pipelines.dicom_out.source import read_source
from radseg.pipelines.io.dicom.header import quiet_pydicom

SHAPE = (8, 8, 4)
YAMADA = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"


def source(folder: Path, header: dict[str, Any], bytes_of: dict[bytes, bytes] | None = None) -> Any:
    """A series with a header in which bytes stand for others of the same length."""
    with quiet_pydicom():
        factory.series(folder, SHAPE, header={**factory.HEADER, **header})
    for file in folder.iterdir():
        content = file.read_bytes()
        for stand_in, real in (bytes_of or {}).items():
            assert stand_in in content
            content = content.replace(stand_in, real)
        file.write_bytes(content)
    return read_source(factory.only_case(folder))


def written(source: Any, file: Path) -> Any:
    """What another program reads of an object with that identity."""
    dataset = pydicom.Dataset()
    with quiet_pydicom():
        inherit(dataset, identity_of(source))
        dataset.save_as(file, implicit_vr=False, little_endian=True)
    return pydicom.dcmread(file, force=True)


@pytest.mark.parametrize(
    ("declared", "stored", "name"),
    [
        (["", "ISO 2022 IR 87"], YAMADA, "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
        ("ISO_IR 192", "Müller^Jörg".encode(), "Müller^Jörg"),
        ("ISO_IR 192", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
        ("ISO_IR 6", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
        ("ISO_IR 999", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    ],
)
def test_names_keep_their_letters_though_the_declared_character_set_is_wrong(
    declared: Any, stored: bytes, name: str, tmp_path: Path
) -> None:
    stand_in = b"N" * len(stored)
    header = {"SpecificCharacterSet": declared, "PatientName": stand_in.decode()}
    found = source(tmp_path / "ct", header, {stand_in: stored})
    for number in ("first", "second"):  # each object of a case asks anew
        read = written(found, tmp_path / f"{number}.dcm")
        assert (str(read.PatientName), read.SpecificCharacterSet) == (name, "ISO_IR 192")


@pytest.mark.parametrize("date", ["00000000", "yesterday", "2024.03.05", ""])
def test_dates_that_are_none_are_empty(date: str, tmp_path: Path) -> None:
    read = written(source(tmp_path / "ct", {"StudyDate": date, "PatientBirthDate": date}), tmp_path / "one.dcm")
    assert (read.StudyDate, read.PatientBirthDate, read.StudyTime) == ("", "", "101112")


def test_ids_are_the_archive_s_however_long(tmp_path: Path) -> None:
    header = {"PatientID": "X" * 90, "AccessionNumber": "A" * 40, "PatientName": "Fam^Giv^Mid^Dr^Jr"}
    with quiet_pydicom():
        read = written(source(tmp_path / "ct", header), tmp_path / "one.dcm")
        found = {keyword: str(read[keyword].value) for keyword in header}
    assert found == header


@pytest.mark.parametrize(
    ("stored", "number"),
    [(4, 3004), (None, 3000), (-7, 3000), ("12.5", 3012), ("1\\2", 3000), ("x", 3000), ("9999999999", 2**31 - 1)],
)
def test_a_series_number_that_is_none_counts_as_0(stored: Any, number: int) -> None:
    identity = pydicom.Dataset()
    raw = b"" if stored is None else str(stored).encode()
    tag = pydicom.tag.Tag("SeriesNumber")
    identity[tag] = pydicom.DataElement(tag, "LO", raw.decode())
    assert series_number(identity, 3000) == number
