"""A series to which files have come since it was found is never taken for whole."""

from pathlib import Path
from types import ModuleType

import pytest

from radseg.pipelines.cases import Case, discover
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_volume
from radseg.pipelines.io.growth import see_that_none_came


def found(folder: Path) -> Case:
    (case,) = discover(folder)
    assert isinstance(case, Case)
    return case


@pytest.mark.parametrize("later", [[5], [2, 3]], ids=["at the end", "in the middle"])
def test_slices_that_came_since_are_counted_and_the_remedy_is_named(
    tmp_path: Path, factory: ModuleType, later: list[int]
) -> None:
    case = found(factory.write_series(tmp_path, skip=later))
    factory.write_series(tmp_path, skip=[k for k in range(6) if k not in later])
    with pytest.raises(InputError) as refused:
        load_volume(case)
    assert str(refused.value) == (
        f"{tmp_path}: {len(later)} more of its files came since it was found; wait until it is whole, then run again"
    )
    assert load_volume(found(tmp_path)).array.shape == (7, 5, 6)


def test_a_series_over_two_folders_grows_in_either(tmp_path: Path, factory: ModuleType) -> None:
    factory.write_series(tmp_path / "part1", skip=(3, 4, 5))
    factory.write_series(tmp_path / "part2", skip=(0, 1, 2, 5))
    case = found(tmp_path)
    assert load_volume(case).array.shape == (7, 5, 5)
    factory.write_series(tmp_path / "part2", skip=range(5))
    with pytest.raises(InputError, match="1 more of its files came"):
        load_volume(case)


@pytest.mark.parametrize("name", ["notes.txt", ".IM0009.part", "IM0009"])
def test_what_is_no_file_of_the_series_does_not_count(tmp_path: Path, factory: ModuleType, name: str) -> None:
    case = found(factory.write_series(tmp_path))
    (tmp_path / name).write_bytes(b"beside")
    factory.write_series(tmp_path, uid="1.2.4", names="other{}.dcm".format)
    (tmp_path / "link.dcm").symlink_to(tmp_path / "IM0000.dcm")
    (tmp_path / "IM0004.dcm").rename(tmp_path / "kept")
    (tmp_path / "kept").rename(tmp_path / "IM0004.dcm")
    see_that_none_came(case)
    assert load_volume(case).array.shape == (7, 5, 6)


def test_a_folder_that_has_gone_is_left_to_whoever_reads_its_files(tmp_path: Path, factory: ModuleType) -> None:
    case = found(factory.write_series(tmp_path / "in"))
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"IM0000\.dcm: can't be read \(No such file or directory\)"):
        load_volume(case)
