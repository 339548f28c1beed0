"""A search hands cases on while it goes, in little memory, and never half a series without saying so."""

import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import find_images as module
from radseg.pipelines.io.dicom.ct_series import Selection
from radseg.pipelines.io.find_images import Case, InputKind, Refusal, Search, find_images
from radseg.pipelines.io.walk import Visit, Walk

RAMP = np.arange(35, dtype=np.uint16).reshape(5, 7)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose headers were read so far."""
    files: list[Path] = []
    read = module.read_header
    monkeypatch.setattr(module, "read_header", lambda path: (files.append(path), read(path))[1])
    return files


def uids(found: Iterator[Case | Refusal]) -> list[tuple[str, str | None, int]]:
    return [(type(one).__name__, one.series_uid, len(one.files) if isinstance(one, Case) else 0) for one in found]


def test_a_series_is_a_case_as_soon_as_the_next_folder_was_read(
    tmp_path: Path, factory: ModuleType, opened: list[Path]
) -> None:
    for number in range(5):
        factory.write_series(tmp_path / "study" / f"s{number}", uid=f"1.2.{number}")
    found = find_images([tmp_path], Search())
    assert opened == []
    read = [(one.series_uid, sorted({path.parent.name for path in opened})[-1]) for one in found]
    assert read == [("1.2.0", "s1"), ("1.2.1", "s2"), ("1.2.2", "s3"), ("1.2.3", "s4"), ("1.2.4", "s4")]


def test_a_radiograph_is_a_case_before_the_next_file_is_opened(
    tmp_path: Path, factory: ModuleType, opened: list[Path]
) -> None:
    for number in range(3):
        factory.write_radiograph(tmp_path / f"{number}.dcm", RAMP + number)
    found = find_images([tmp_path], Search("DX"))
    assert [(one.source.name, len(opened)) for one in found] == [("0.dcm", 1), ("1.dcm", 2), ("2.dcm", 3)]


def test_a_series_in_numbered_parts_is_whole_whatever_lies_beside_it(tmp_path: Path, factory: ModuleType) -> None:
    """Exports that begin a folder every so many files, without leading zeros; series change inside of a folder."""
    hu = factory.phantom(slices=24)
    for part in range(12):
        start = 2 * part
        factory.write_series(
            tmp_path / f"part{part}", hu, uid="1.2.3", skip=[k for k in range(24) if not start <= k < start + 2]
        )
    factory.write_series(tmp_path / "part11", uid="1.2.4", names="other{}".format)
    factory.write_series(tmp_path / "part12", uid="1.2.5")
    assert uids(find_images([tmp_path], Search())) == [
        ("Case", "1.2.3", 24),
        ("Case", "1.2.4", 6),
        ("Case", "1.2.5", 6),
    ]


def test_files_that_come_too_late_are_told_and_never_a_second_case(tmp_path: Path, factory: ModuleType) -> None:
    factory.write_series(tmp_path / "a", uid="1.2.3", skip=(3, 4, 5))
    factory.write_series(tmp_path / "b", uid="1.2.4")
    factory.write_series(tmp_path / "c", uid="1.2.3", skip=(0, 1, 2, 5))
    factory.write_series(tmp_path / "d", uid="1.2.3", skip=(0, 1, 2, 3, 4))
    case, late, other = find_images([tmp_path], Search())
    assert isinstance(case, Case)
    assert (case.series_uid, len(case.files)) == ("1.2.3", 3)
    assert isinstance(other, Refusal)
    assert (other.source, other.series_uid) == (tmp_path / "c", "1.2.3")
    assert "its case is incomplete; put its files into one folder" in other.reason
    assert (late.series_uid, type(late)) == ("1.2.4", Case)
    whole = uids(find_images([tmp_path / "a", tmp_path / "c", tmp_path / "d", tmp_path / "b"], Search()))
    assert whole == [("Case", "1.2.3", 6), ("Case", "1.2.4", 6)]


def test_files_named_one_by_one_count_as_one_folder(tmp_path: Path, factory: ModuleType) -> None:
    factory.write_series(tmp_path / "a", uid="1.2.3")
    factory.write_series(tmp_path / "b", uid="1.2.4")
    files = sorted(tmp_path.rglob("*.dcm"), key=lambda path: (path.name, path))  # a, b, a, b, …
    assert uids(find_images(files, Search())) == [("Case", "1.2.3", 6), ("Case", "1.2.4", 6)]


def test_the_two_scans_of_one_series_are_two_cases(tmp_path: Path, factory: ModuleType) -> None:
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    factory.write_series(tmp_path, uid="1.2.3", names="a{}.dcm".format)
    factory.write_series(tmp_path, factory.phantom(slices=4), uid="1.2.3", orientation=coronal, names="c{}.dcm".format)
    one, other = find_images([tmp_path], Search())
    assert isinstance(one, Case)
    assert isinstance(other, Case)
    assert (one.notes[0], other.notes[0]) == ("stack 1 of 2 in its series", "stack 2 of 2 in its series")
    assert ({file.name[0] for file in one.files}, {file.name[0] for file in other.files}) == ({"a"}, {"c"})
    assert [len(case.headers) for case in (one, other)] == [6, 4]


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 files of 1,000 series; the folders and headers are made up, the search is not."""

    def visits(walk: Walk) -> Iterator[Visit]:
        for series in range(1000):
            folder = tmp_path / f"patient{series // 10}" / f"series{series}"
            yield Visit(tmp_path, [folder / f"IM{number:04d}" for number in range(100)])

    def read(path: Path) -> Any:
        return SimpleNamespace(path=path, frames=1, series_uid=f"1.2.826.0.1.3680043.8.498.{path.parent.name}")

    monkeypatch.setattr(Walk, "__iter__", visits)
    monkeypatch.setattr(module, "looks_like_dicom", lambda path: True)
    monkeypatch.setattr(module, "read_header", read)
    monkeypatch.setattr(module, "select_slices", lambda headers, **_: Selection(refusal="not now"))
    monkeypatch.setattr(module, "stacks_of", lambda headers, modality: [list(headers)])
    tracemalloc.start()
    count = sum(1 for _ in find_images([tmp_path], Search()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1000
    assert peak < 2 << 20  # two folders' headers and a UID a series; all headers would be 30 MB


def test_links_to_nothing_are_refused_where_they_are_called_images(tmp_path: Path) -> None:
    for name in ("scan.nii.gz", "IM1.dcm", "notes"):
        (tmp_path / name).symlink_to(tmp_path / "store" / name)
    assert [(one.source.name, one.reason) for one in find_images([tmp_path], Search()) if isinstance(one, Refusal)] == [
        ("IM1.dcm", "a link to nothing; fetch the file that it leads to"),
        ("scan.nii.gz", "a link to nothing; fetch the file that it leads to"),
    ]


def test_an_unreadable_folder_is_refused_by_its_name(
    tmp_path: Path, factory: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory.write_series(tmp_path / "good")
    (tmp_path / "secret").mkdir()
    scandir: Callable[[Any], Any] = os.scandir

    def refusing(path: Path) -> Any:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    case, refusal = find_images([tmp_path], Search())
    assert isinstance(case, Case)
    assert refusal == Refusal(tmp_path / "secret", "can't be read (Permission denied); check its permissions")
    (only,) = find_images([tmp_path / "secret"], Search())
    assert only == refusal


def test_an_input_out_of_reach_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="gone: no such file or folder; check the path"):
        find_images([tmp_path / "gone"], Search())
    stat = Path.stat

    def refusing(path: Path, **options: Any) -> os.stat_result:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refusing)
    with pytest.raises(InputError, match=r"locked: can't be read \(Permission denied\); check its permissions"):
        find_images([tmp_path / "locked"], Search())


def test_a_file_that_vanishes_during_the_search_is_refused(tmp_path: Path, factory: ModuleType) -> None:
    for name in ("a", "b", "c"):
        factory.write_series(tmp_path / name, uid=f"1.2.{ord(name)}")
    found = find_images([tmp_path], Search())
    next(found)
    shutil.rmtree(tmp_path / "c")
    (tmp_path / "c").mkdir()
    assert uids(found) == [("Case", "1.2.98", 6)]


def test_relative_and_absolute_inputs_mix(tmp_path: Path, factory: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.write_series(tmp_path / "a", skip=(0, 1))
    factory.write_series(tmp_path / "b", skip=(2, 3, 4, 5))
    monkeypatch.chdir(tmp_path)
    (case,) = find_images([Path("a"), tmp_path / "b"], Search())
    assert case.source == tmp_path


@pytest.mark.parametrize("named", ["x\0y.raw", "x" * 300])
def test_a_header_that_names_an_impossible_file_is_refused(tmp_path: Path, named: str) -> None:
    (tmp_path / "scan.mhd").write_text(f"NDims = 3\nElementDataFile = {named}\n")
    (refusal,) = find_images([tmp_path], Search())
    assert isinstance(refusal, Refusal)
    assert refusal.source == tmp_path / "scan.mhd"
    assert "\n" not in refusal.reason


def test_other_images_keep_their_place_between_series(tmp_path: Path, factory: ModuleType) -> None:
    for name in ("a", "c"):
        factory.write_series(tmp_path / name, uid=f"1.2.{ord(name)}")
    (tmp_path / "b").mkdir()
    for name in ("1.nii", "2.nii.gz"):
        (tmp_path / "b" / name).touch()
    kinds = [one.kind for one in find_images([tmp_path], Search()) if isinstance(one, Case)]
    assert kinds == [InputKind.DICOM, InputKind.NIFTI, InputKind.NIFTI, InputKind.DICOM]


@pytest.mark.parametrize("names", ["IM{:04d}", "{:08X}", "1.2.840.{}.7", "slice{}.bin"])
@pytest.mark.parametrize("content", [b"", b"\0" * 999])
def test_a_file_named_like_its_dicom_neighbours_is_refused_and_each_series_there_doubted(
    tmp_path: Path, factory: ModuleType, names: str, content: bytes
) -> None:
    factory.write_series(tmp_path / "a", uid="1.2.3", names=lambda k: names.format(2000 + k))
    factory.write_series(tmp_path / "a", uid="1.2.4", names=lambda k: names.format(3000 + k))
    factory.write_series(tmp_path / "b", uid="1.2.5", names=lambda k: names.format(2000 + k))
    for number in (2002, 2003):
        (tmp_path / "a" / names.format(number)).write_bytes(content)
    one, other, refusal, beside = find_images([tmp_path], Search())
    doubt = "2 unreadable files in its folder: slices may be missing"
    assert isinstance(one, Case)
    assert isinstance(other, Case)
    assert isinstance(beside, Case)
    assert [doubt in case.notes for case in (one, other, beside)] == [True, True, False]
    assert isinstance(refusal, Refusal)
    assert refusal.source == tmp_path / "a"
    assert refusal.reason == ("2 files named like the DICOM files beside them: not readable as DICOM; fetch it again")


@pytest.mark.parametrize("name", ["IM0003", "IM0003.dcm"])
def test_a_link_to_nothing_among_slices_is_refused_once_and_the_series_doubted(
    tmp_path: Path, factory: ModuleType, name: str
) -> None:
    factory.write_series(tmp_path, names=lambda k: f"IM{k:04d}{Path(name).suffix}")
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "store")
    found = list(find_images([tmp_path], Search()))
    assert [one.source for one in found if isinstance(one, Refusal)] == [tmp_path / name]
    (case,) = [one for one in found if isinstance(one, Case)]
    assert "1 unreadable file in its folder: slices may be missing" in case.notes
