"""Evaluation scores the very masks that segmentation writes."""

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.metrics import compute_dice

from radseg.pipelines.evaluate import case_names, evaluate
from radseg.pipelines.segment import segment

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.mark.parametrize("bundle", ["spine", "lung_ct"])
def test_the_scores_are_those_of_the_written_mask(
    bundle: str, small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    settings = {"weights": str(small_weights[bundle]), "progress": False, **small[bundle]}
    result = evaluate(bundle, output_dir=str(tmp_path / "scores"), **settings)
    item = json.loads((SAMPLES / bundle / "datalist.json").read_text())["test"][-1]
    batch = segment(bundle, SAMPLES / bundle / item["image"], tmp_path / "masks", **settings)
    mask = np.asarray(nib.load(tmp_path / "masks" / batch.done[0] / "mask.nii.gz").dataobj)
    truth = np.asarray(nib.load(SAMPLES / bundle / item["label"]).dataobj)
    rows = [row for row in result["rows"] if row["case"] == batch.done[0]]
    assert rows
    for row, value in zip(rows, range(1, 3), strict=False):
        expected = compute_dice(
            torch.as_tensor(mask == value)[None, None], torch.as_tensor(truth == value)[None, None]
        ).item()
        assert row["metrics"]["dice"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bundle", ["lung_xray", "pelvis_xray"])
def test_radiographs_are_scored_with_the_squared_error_of_their_probability(
    bundle: str, small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"weights": str(small_weights[bundle]), "progress": False, **small[bundle]}
    result = evaluate(bundle, output_dir=str(tmp_path), **settings)
    assert len(result["rows"]) == 2
    assert result["simulated"]
    for row in result["rows"]:
        metrics = row["metrics"]
        assert metrics["iou"] == pytest.approx(metrics["dice"] / (2 - metrics["dice"]))
        assert 0 < metrics["mse"] < 1
        assert metrics["mse"] != pytest.approx(1 - metrics["accuracy"], abs=1e-3)  # a mask's would be that


def test_csv_json_and_result_agree(small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path) -> None:
    result = evaluate(
        "spine", weights=str(small_weights["spine"]), output_dir=str(tmp_path), progress=False, split="training",
        **small["spine"],
    )  # fmt: skip
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(result))
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows[-2:]] == ["mean", "mean"]
    assert len(rows) == 4 * 2 + 2
    assert {"dice", "iou", "precision", "sensitivity", "specificity", "accuracy", "hd95_mm", "surface_dice"} < set(
        rows[0]
    )
    dice = [float(row["dice"]) for row in rows if row["label"] == "vertebra" and row["case"] != "mean"]
    assert float(rows[-2]["dice"]) == pytest.approx(np.mean(dice))
    assert result["mean"]["vertebra"]["dice"] == pytest.approx(np.mean(dice))
    assert "two empty masks is 1" in result["convention"]
    for row in result["rows"]:
        assert set(row["truth"]) == set(row["prediction"]) == {"volume_ml"}
        assert (row["truth"]["volume_ml"] == 0) == (row["metrics"]["voxels_truth"] == 0)
    assert (tmp_path / "bland_altman.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "bland_altman.pdf").read_bytes().startswith(b"%PDF")
    found = result["agreement"]["vertebra"]
    differences = [row["prediction"]["volume_ml"] - row["truth"]["volume_ml"] for row in result["rows"][::2]]
    assert (found["unit"], found["pairs"]) == ("ml", 4)
    assert found["bias"] == pytest.approx(np.mean(differences))
    assert found["upper"] - found["bias"] == pytest.approx(1.96 * np.std(differences, ddof=1))


def test_fewer_than_three_cases_have_no_plot_and_an_old_one_goes(
    small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "bland_altman.png").touch()
    settings = {"weights": str(small_weights["lung_xray"]), "progress": False, **small["lung_xray"]}
    result = evaluate("lung_xray", output_dir=str(tmp_path), **settings)
    assert result["agreement"] == dict.fromkeys(result["mean"])
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "metrics.csv"}
    for row in result["rows"]:
        assert all(row[which].keys() <= {"area_mm2", "share_of_image"} for which in ("truth", "prediction"))


def test_plots_can_be_left_out(small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path) -> None:
    settings = {"weights": str(small_weights["lung_ct"]), "progress": False, **small["lung_ct"]}
    evaluate("lung_ct", output_dir=str(tmp_path), plots=False, **settings)
    assert not list(tmp_path.glob("bland_altman*"))


def test_cases_of_one_file_name_are_told_apart_by_their_folders() -> None:
    images = ["d/s0001/ct.nii.gz", "d/s0002/ct.nii.gz", "d/s0003/other.nii"]
    assert case_names(images) == ["s0001/ct", "s0002/ct", "other"]
