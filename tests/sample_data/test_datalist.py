"""The datalists of the sample data name real files and keep patients apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SPLITS = ("training", "validation", "test")


@pytest.fixture(params=["spine", "lung_ct"])
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
    expected = {"spine": [4, 1, 1], "lung_ct": [2, 1, 3]}
    assert [len(content[split]) for split in SPLITS] == expected[folder.name]
    assert [item["fold"] for item in content["training"]] == list(range(len(content["training"])))


def test_no_patient_is_in_two_splits(content: dict[str, Any]) -> None:
    patients = [item["patient"] for split in SPLITS for item in content[split]]
    assert len(set(patients)) == len(patients) == 6


def test_labels_start_with_the_background(content: dict[str, Any]) -> None:
    assert content["labels"]["0"] == "background"
    assert len(content["labels"]) >= 2
