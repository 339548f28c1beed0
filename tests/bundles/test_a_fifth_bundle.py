"""A new bundle is a folder: every verb runs on it, and nothing in the code has to know of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from untrained import untrained

ROOT = Path(__file__).parents[2]

# a network of MONAI's in place of ours, another label, other settings; the rest is copied from spine
NETWORK = {
    "_target_": "monai.networks.nets.BasicUNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": "@out_channels",
    "features": [4, 4, 8, 8, 8, 4],
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    folder = untrained("spine", tmp_path).rename(tmp_path / "toy")
    for config in ("train", "evaluate", "inference"):
        content = json.loads((folder / f"{config}.json").read_text())
        content |= {
            "imports": [line for line in content["imports"] if "radseg.bundles" not in line],
            "bundle_root": str(folder),
            "network_def": NETWORK,
            "out_channels": 2,
            "labels": ["bone"],
            "roi_size": [32, 32, 32],
            "spacing_mm": [3.0, 3.0, 3.0],
        }
        one_label = {"_target_": "radseg.transforms.KeepLabeld", "label": "any"}  # vertebrae, fractured or not
        labels = content["preprocessing"]["transforms"][4]
        content["preprocessing"]["transforms"][4] = {
            **one_label, "keys": "label", "allow_missing_keys": labels["allow_missing_keys"],
        }  # fmt: skip
        if config == "evaluate":
            content["evaluator"]["truth"] = {"_target_": "radseg.transforms.KeepLabel", "label": "any"}
        (folder / f"{config}.json").write_text(json.dumps(content))
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["network_data_format"]["outputs"]["pred"].update(num_channels=2)
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "background", "1": "bone"}
    (folder / "metadata.json").write_text(json.dumps(metadata | {"name": "Toy"}))
    return folder


def test_all_verbs_run_on_a_bundle_in_any_folder(toy: Path, radseg: Callable[..., Any], tmp_path: Path) -> None:
    foreign = radseg("validate", toy)
    assert foreign.code == 2
    assert "--trust-config" in foreign.err
    valid = radseg("validate", toy, "--trust-config")
    assert valid.code == 0, valid.err

    data = ROOT / "sample_data" / "spine"
    run = tmp_path / "run"
    options = ("--trust-config", "--dataset_dir", data)
    trained = radseg("train", toy, *options, "-o", run, "--max_epochs", "2", "-q")
    assert trained.code == 0, trained.err
    evaluated = radseg("evaluate", toy, *options, "-o", tmp_path / "scores", "--weights", run / "model.pt", "-q")
    assert evaluated.code == 0, evaluated.err
    assert set(json.loads((tmp_path / "scores" / "metrics.json").read_text())["mean"]) == {"bone"}
    image = data / "imagesTr" / "spine06.nii.gz"
    segmented = radseg(
        "segment", toy, image, "-o", tmp_path / "masks", "--weights", run / "model.pt", "--trust-config", "-q"
    )
    assert segmented.code == 0, segmented.err
    mask = nib.load(tmp_path / "masks" / "spine06" / "mask.nii.gz")
    assert mask.shape == nib.load(image).shape
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}
    assert "bone" in json.loads((tmp_path / "masks" / "spine06" / "statistics.json").read_text())["labels"]
