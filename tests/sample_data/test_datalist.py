"""The datalists of the sample data name real files and keep patients apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SPLITS = ("training", "validation", "test")
EXPECTED = {"spine": [4, 1, 1], "lung_ct": [2, 1, 3], "lung_xray": [8, 2, 2], "pelvis_xray": [7, 1, 2]}


@pytest.fixture(params=EXPECTED)
def folder(request: pytest.FixtureRequest, sample_data: Path) -> Path:
    return sample_data / request.param


@pytest.fixture
def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "datalist.json").read_text(encoding="utf-8"))


def test_every_named_file_exists_and_every_image_is_named(folder: Path, content: dict[str, Any]) -> None:
    items = [item for split in SPLITS for item in content[split]]
    for key, subfolder in (("image", "imagesTr"), ("label", "labelsTr")):
        named = sorted(item[key] for item in items)
        assert named == sorted(f"{subfolder}/{path.name}" for path in (folder / subfolder).iterdir())


def test_every_split_has_its_cases(folder: Path, content: dict[str, Any]) -> None:
    assert [len(content[split]) for split in SPLITS] == EXPECTED[folder.name]


def test_every_training_patient_is_a_fold(content: dict[str, Any]) -> None:
    folds = {item["patient"]: item["fold"] for item in content["training"]}
    assert list(folds.values()) == list(range(len(folds)))
    assert all(item["fold"] == folds[item["patient"]] for item in content["training"])


def test_no_patient_is_in_two_splits(content: dict[str, Any]) -> None:
    by_split = [{item["patient"] for item in content[split]} for split in SPLITS]
    assert sum(map(len, by_split)) == len(set().union(*by_split))


def test_simulated_radiographs_say_that_they_are(folder: Path, content: dict[str, Any]) -> None:
    assert content["description"].startswith("Simulated" if folder.name.endswith("xray") else "Synthetic")


def test_labels_start_with_the_background(content: dict[str, Any]) -> None:
    assert content["labels"]["0"] == "background"
    assert len(content["labels"]) >= 2
