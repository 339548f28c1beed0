"""`data sample` makes what the demo uses; `data check` finds what would spoil a training or its result."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radseg.pipelines import datasets, progress_lines
from radseg.pipelines.errors import InputError

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.mark.parametrize(("bundle", "training", "test"), [("spine", 4, 1), ("lung_ct", 2, 3)])
def test_the_sample_data_have_no_problem(bundle: str, training: int, test: int) -> None:
    report = datasets.check(SAMPLES / bundle, progress=False)
    assert report.problems == []
    assert report.items == {"training": training, "validation": 1, "test": test}


def test_sample_data_never_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(InputError, match="isn't an empty folder"):
        datasets.sample(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]


@pytest.mark.long
def test_sample_data_can_be_made_anywhere(radseg: Callable[..., Any], tmp_path: Path) -> None:
    assert radseg("data", "sample", "-o", tmp_path / "made").code == 0
    for bundle, splits in (
        ("spine", "4 training, 1 validation, 1 test"),
        ("lung_ct", "2 training, 1 validation, 3 test"),
    ):
        ended = radseg("data", "check", tmp_path / "made" / bundle)
        assert ended.code == 0, ended.err
        assert splits in ended.out


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for number in range(3):
        image = np.random.default_rng(number).integers(-900, 900, (8, 8, 8)).astype(np.int16)
        nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / f"i{number}.nii.gz")
        label = np.zeros((8, 8, 8), np.uint8)
        label[2:4] = number
        nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / f"l{number}.nii.gz")
    return tmp_path


def _check(
    dataset: Path, training: list[tuple[str, str, str]], validation: list[tuple[str, str, str]]
) -> datasets.Report:
    def items(rows: list[tuple[str, str, str]]) -> list[dict[str, str]]:
        return [{"image": image, "label": label, "patient": patient} for image, label, patient in rows]

    content = {"training": items(training), "validation": items(validation)}
    (dataset / "datalist.json").write_text(json.dumps(content))
    return datasets.check(dataset, progress=False)


def test_a_check_that_takes_long_says_how_far_it_is(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _check(dataset, [(f"i{n}.nii.gz", f"l{n}.nii.gz", f"p{n}") for n in range(3)], [])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress_lines, "_SILENCE_S", 1e-9)
    datasets.check(dataset, progress=False)
    assert capsys.readouterr().err == ""
    datasets.check(dataset)
    assert "checking: 1 of 3\n" in capsys.readouterr().err


def test_label_values_and_empty_masks_are_reported(dataset: Path) -> None:
    rows = [(f"i{n}.nii.gz", f"l{n}.nii.gz", f"p{n}") for n in range(3)]
    report = _check(dataset, rows[:2], rows[2:])
    assert report.problems == []
    assert report.label_values == {0: 3, 1: 1, 2: 1}
    assert [note for note in report.notes if "l0.nii.gz: is empty" in note]


@pytest.mark.parametrize(("forgotten", "told"), [(0, 0), (1, 1), (2, 0)])
def test_a_mask_without_a_label_that_nine_in_ten_have_is_named(tmp_path: Path, forgotten: int, told: int) -> None:
    items = []
    for number in range(12):
        mask = np.zeros((8, 8), np.uint8)
        mask[1:3], mask[5:7] = 1, 0 if number < forgotten else 2
        Image.fromarray(np.arange(number, number + 64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / f"i{number}.png")
        Image.fromarray(mask).save(tmp_path / f"m{number}.png")
        items.append({"image": f"i{number}.png", "label": f"m{number}.png", "patient": f"p{number}"})
    (tmp_path / "datalist.json").write_text(json.dumps({"training": items}))
    report = datasets.check(tmp_path)
    assert report.label_values == {0: 12, 1: 12, 2: 12 - forgotten}
    said = [note for note in report.notes if "look at them" in note]
    assert said == ["label 2 is in 11 of 12 masks but not in m0.png: look at them"] * told


def test_a_patient_on_both_sides_is_a_leak(dataset: Path) -> None:
    report = _check(dataset, [("i1.nii.gz", "l1.nii.gz", "p")], [("i2.nii.gz", "l2.nii.gz", "p")])
    assert report.problems == ["patient p is in training and validation: a result would be a leak"]


def test_a_patient_in_two_folds_is_a_leak(dataset: Path) -> None:
    items = [{"image": f"i{n}.nii.gz", "label": f"l{n}.nii.gz", "patient": "p", "fold": n} for n in (1, 2)]
    (dataset / "datalist.json").write_text(json.dumps({"training": items}))
    report = datasets.check(dataset, progress=False)
    assert report.problems == ["patient p is in folds 1 and 2: a cross-validation would be a leak"]


def test_a_copied_image_is_found_by_its_content(dataset: Path) -> None:
    (dataset / "copy.nii.gz").write_bytes((dataset / "i1.nii.gz").read_bytes())
    report = _check(dataset, [("i1.nii.gz", "l1.nii.gz", "a")], [("copy.nii.gz", "l1.nii.gz", "b")])
    assert len(report.problems) == 1
    assert "i1.nii.gz (training), copy.nii.gz (validation)" in report.problems[0]


def test_a_label_on_another_grid_is_a_problem(dataset: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.uint8), np.diag([2.0, 1, 1, 1])), dataset / "l1.nii.gz")
    report = _check(dataset, [("i1.nii.gz", "l1.nii.gz", "a")], [("i2.nii.gz", "l2.nii.gz", "b")])
    assert len(report.problems) == 1
    assert "different affines" in report.problems[0]
