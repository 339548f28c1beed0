"""A case's folder is whole or not there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.case_folder import case_folder, recover, write_case
from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.io import Volume
from radseg.pipelines.measure import LabelVolumes


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    with case_folder(tmp_path, "case") as folder:
        (folder / "mask.nii.gz").write_text("mask")
        assert not (tmp_path / "case").exists()
    assert (tmp_path / "case" / "mask.nii.gz").read_text() == "mask"
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def _fill_half(tmp_path: Path) -> None:
    with case_folder(tmp_path, "case") as folder:
        (folder / "mask.nii.gz").write_text("half")
        raise OSError("disk full")


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"):
        _fill_half(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with case_folder(tmp_path, "case") as folder:
        (folder / "mask.nii.gz").write_text("first")
    with pytest.raises(OSError, match="disk full"):
        _fill_half(tmp_path)
    assert (tmp_path / "case" / "mask.nii.gz").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def test_a_new_result_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with case_folder(tmp_path, "case") as folder:
            (folder / text).write_text(text)
    assert [path.name for path in (tmp_path / "case").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def test_a_result_survives_a_kill_between_the_two_renames(tmp_path: Path) -> None:
    with case_folder(tmp_path, "case") as folder:
        (folder / "mask.nii.gz").write_text("first")
    (tmp_path / ".case.part" / "0123").mkdir(parents=True)
    (tmp_path / "case").rename(tmp_path / ".case.part" / "0123-0.old")  # as the replacement does, and then nothing more
    recover(tmp_path, "case")
    assert (tmp_path / "case" / "mask.nii.gz").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def test_what_killed_runs_left_is_cleared_up_and_no_other_case_s(tmp_path: Path) -> None:
    for left in (".case.part/0123", ".case.part/4567.gone", ".case.part/89ab-0.old", ".case.2.part/0123"):
        (tmp_path / left).mkdir(parents=True)
        (tmp_path / left / "mask.nii.gz").write_text("half")
    (tmp_path / ".case.part" / "mask.nii.gz").write_text("half")
    (tmp_path / "case").mkdir()
    recover(tmp_path, "case")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        *(".case.2.part", ".case.2.part/0123", ".case.2.part/0123/mask.nii.gz", "case")
    ]


def test_two_attempts_at_a_case_leave_one_whole_result(tmp_path: Path) -> None:
    with case_folder(tmp_path, "case") as slow:
        (slow / "mask.nii.gz").write_text("slow")
        with case_folder(tmp_path, "case") as fast:
            assert fast != slow
            (fast / "mask.nii.gz").write_text("fast")
        assert (tmp_path / "case" / "mask.nii.gz").read_text() == "fast"
        (slow / "statistics.json").write_text("slow")
    assert {file.name: file.read_text() for file in (tmp_path / "case").iterdir()} == {
        "mask.nii.gz": "slow",
        "statistics.json": "slow",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def _fill_while_given_up(tmp_path: Path) -> None:
    with case_folder(tmp_path, "case") as folder:
        (folder / "mask.nii.gz").write_text("late")
        recover(tmp_path, "case")  # as another attempt does before it begins
        with case_folder(tmp_path, "case") as other:
            (other / "mask.nii.gz").write_text("other")


def test_an_attempt_that_was_given_up_neither_finishes_nor_harms_the_next(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _fill_while_given_up(tmp_path)
    assert (tmp_path / "case" / "mask.nii.gz").read_text() == "other"
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def test_a_mirrored_radiographs_mask_is_a_picture_in_its_stored_rows_and_columns(tmp_path: Path) -> None:
    affine = np.diag([0.2, -0.2, 1.0, 1.0])  # columns run to the patient's right
    volume = Volume(np.zeros((4, 3, 1), np.float32), affine, "grey", is_picture=True)
    mask = np.zeros((4, 3, 1), np.uint8)
    mask[0, 2] = 1
    case = Case("chest", InputKind.DICOM, (tmp_path / "x.dcm",), tmp_path / "x.dcm")
    statistics = LabelVolumes(["lung"])(mask, volume, "chest")
    write_case(tmp_path, case, volume, mask, ["lung"], statistics, (-1000.0, 1000.0))
    with Image.open(tmp_path / "mask.png") as picture:
        assert np.asarray(picture).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [255, 0, 0, 0]]
    assert {path.name for path in tmp_path.iterdir()} == {"mask.png", "preview.png", "statistics.json"}
