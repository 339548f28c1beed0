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
    (tmp_path / "case").rename(tmp_path / ".case.old")  # as the replacement does, and then nothing more
    (tmp_path / ".case.part").mkdir()
    recover(tmp_path, "case")
    assert (tmp_path / "case" / "mask.nii.gz").read_text() == "first"
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
