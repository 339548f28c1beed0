"""`python -m monai.bundle run` and `radseg` are one path: same configs, same voxels."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radseg.pipelines.io import load_mask

ROOT = Path(__file__).parents[2]


def _monai(
    run_id: str, config: str, *overrides: str | Path, bundle: str, cwd: Path
) -> subprocess.CompletedProcess[str]:
    file = ROOT / "bundles" / bundle / f"{config}.json"
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", str(file)]
    return subprocess.run(
        [*command, *(str(text) for text in overrides)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


# "run" is what MONAI runs when no id is given
@pytest.mark.parametrize(
    ("bundle", "inferring"),
    [("spine", "inferring"), ("lung_ct", "run"), ("lung_xray", "inferring"), ("pelvis_xray", "inferring")],
)
def test_monai_trains_evaluates_and_infers_and_segment_gives_the_same_voxels(
    bundle: str, inferring: str, tmp_path: Path, radseg: Callable[..., Any], small_options: Callable[..., list[str]]
) -> None:
    small = small_options(bundle)
    trained = _monai("training", "train", "--max_epochs", "1", *small, bundle=bundle, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    weights = tmp_path / "runs" / bundle / "model.pt"
    assert weights.is_file()
    assert list((tmp_path / "runs" / bundle / "tensorboard").iterdir())

    evaluated = _monai("evaluating", "evaluate", "--weights", weights, *small, bundle=bundle, cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads((tmp_path / "runs" / bundle / "evaluation" / "metrics.json").read_text())
    assert {"dice", "iou", "hd95_mm", "surface_dice"} <= set(metrics["rows"][0]["metrics"])

    image = sorted((ROOT / "sample_data" / bundle / "imagesTr").iterdir())[0]
    inferred = _monai(
        inferring, "inference", "--weights", weights, "--dataset_dir", image, "--output_dir", "masks", *small,
        bundle=bundle, cwd=tmp_path,
    )  # fmt: skip
    assert inferred.returncode == 0, inferred.stderr

    ended = radseg("segment", bundle, image, "-o", tmp_path / "ours", "--weights", weights, *small)
    assert ended.code == 0, ended.err
    name = image.name.split(".")[0]
    ours, theirs = (
        load_mask(next((folder / name).glob("mask.*"))) for folder in (tmp_path / "ours", tmp_path / "masks")
    )
    assert np.array_equal(ours.array, theirs.array)
    assert np.array_equal(ours.affine_ras, theirs.affine_ras)


@pytest.mark.long
@pytest.mark.parametrize("bundle", ["spine", "lung_ct", "lung_xray", "pelvis_xray"])
def test_the_command_as_written_trains_an_epoch_and_validates(bundle: str, tmp_path: Path) -> None:
    file = ROOT / "bundles" / bundle / "train.json"
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(file), "--max_epochs", "1"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    history = json.loads((tmp_path / "runs" / bundle / "history.json").read_text())
    assert len(history["epochs"]) == 1
    assert any(name.startswith("val_") for name in history["epochs"][0])
