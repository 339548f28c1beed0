"""The weights that ship score as they did, with all that comes before and after the network.

`REWRITE_GOLDEN=1` writes the scores anew. They are means over few images, of which the real ones, but for lung_ct's,
were trained on: they tell a change, not how good a bundle is; see its card for that.
"""

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from radseg.pipelines.datalist import sample_data
from radseg.pipelines.evaluate import evaluate

GOLDEN = Path(__file__).parents[1] / "golden"
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"
SAMPLES = {"spine": 1, "lung_ct": 1, "lung_xray": 4, "pelvis_xray": 4}
TOLERANCE = 0.005  # another CPU sums floats in another order


def _score(bundle: str, items: Sequence[dict[str, Any]], folder: Path) -> dict[str, dict[str, float]]:
    """Dice, precision and sensitivity of each label, means over the images."""
    lists = {"name": bundle, "labels": {}, "training": [], "validation": [], "test": items}
    folder.mkdir(exist_ok=True)
    (folder / "datalist.json").write_text(json.dumps(lists))
    scores = evaluate(bundle, dataset_dir=str(folder), split="test", output_dir=str(folder / "scores"), progress=False)
    kept = ("dice", "precision", "sensitivity")
    return {label: {metric: mean[metric] for metric in kept} for label, mean in scores["mean"].items()}


def _compare(found: dict[str, dict[str, float]], name: str) -> None:
    file = GOLDEN / f"{name}_scores.json"
    if REWRITE:
        file.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(file.read_text())
    assert found.keys() == golden.keys()
    for label, metrics in golden.items():
        assert found[label] == pytest.approx(metrics, abs=TOLERANCE), label


@pytest.mark.parametrize("bundle", SAMPLES)
def test_on_the_samples(bundle: str, tmp_path: Path) -> None:
    """Simulated all of them; lung_ct, trained on lesions of patients, finds next to nothing in them."""
    folder = Path(sample_data(bundle))
    lists = json.loads((folder / "datalist.json").read_text())
    items = sorted(lists["training"] + lists["validation"] + lists["test"], key=lambda item: str(item["image"]))
    there = [
        {**item, "image": str(folder / item["image"]), "label": str(folder / item["label"])}
        for item in items[: SAMPLES[bundle]]
    ]
    _compare(_score(bundle, there, tmp_path), bundle)


def _lumbar(real_data: Path, folder: Path) -> list[dict[str, Any]]:
    """A lumbar CT below its topmost vertebra, which has no label; bundle spine was trained on it."""
    folder.mkdir()
    ct, truth = (nib.load(real_data / "spine_ct" / "verse014" / f"{name}.nii.gz") for name in ("ct", "vertebrae"))
    numbers = np.asarray(truth.dataobj).astype(np.uint8)
    numbers[numbers > 0] += 100
    label = nib.Nifti1Image(numbers, truth.affine)
    for name, image in (("ct", ct), ("label", label)):
        nib.save(nib.as_closest_canonical(image).slicer[:, :, :150], folder / f"{name}.nii.gz")
    return [{"image": str(folder / "ct.nii.gz"), "label": str(folder / "label.nii.gz"), "patient": "lumbar"}]


def _slices(real_data: Path, folder: Path) -> list[dict[str, Any]]:
    """Every third slice of the volume of the second source that bundle lung_ct was never trained on."""
    data = real_data / "covid_ct"
    with (data / "volumes.csv").open(newline="") as file:
        names = sorted(row["slice"] for row in csv.DictReader(file) if row["volume_estimated"] == "v09")
    names = [Path(name).stem for name in names[::3]]
    return [
        {"image": str(data / "ct" / f"{name}.png"), "label": str(data / "lesion" / f"{name}.png"), "patient": "v09"}
        for name in names
    ]


def _radiographs(real_data: Path, folder: Path) -> list[dict[str, Any]]:
    """Some radiographs of many sizes; bundle lung_xray was trained on them."""
    data = real_data / "chest_xray"
    items = []
    for mask in sorted((data / "lung_masks").iterdir())[::9]:
        (image,) = (data / "images").glob(f"{mask.stem}.*")
        items.append({"image": str(image), "label": str(mask), "patient": mask.stem})
    return items


@pytest.mark.long
@pytest.mark.parametrize(("bundle", "images"), [("spine", _lumbar), ("lung_ct", _slices), ("lung_xray", _radiographs)])
def test_on_real_images(
    bundle: str, images: Callable[[Path, Path], list[dict[str, Any]]], real_data: Path, tmp_path: Path
) -> None:
    _compare(_score(bundle, images(real_data, tmp_path / "made"), tmp_path / "scored"), f"{bundle}_real")
