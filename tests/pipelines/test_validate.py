"""`radseg validate` turns each mistake in a bundle into one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import radseg.bundles
from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.validate import validate, wrong_properties
from radseg.pipelines.weights import sha256_of


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(radseg.bundles.root("lung_ct"), tmp_path / "lung_ct")
    return tmp_path / "lung_ct"


def _edit(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("name", radseg.bundles.names())
def test_the_bundles_are_valid(name: str) -> None:
    assert validate(name) == []


@pytest.mark.parametrize("name", radseg.bundles.names())
@pytest.mark.parametrize("config", ["train", "evaluate", "inference"])
def test_every_config_has_the_properties_that_monai_wants(name: str, config: str) -> None:
    assert wrong_properties(load_workflow(name, config)) == []


@pytest.mark.parametrize(
    ("file", "change", "line"),
    [
        ("metadata.json", lambda c: c.pop("version"), "metadata.json: .*'version' is a required property"),
        ("train.json", lambda c: c.pop("seed"), "train.json: top-level key 'seed' is missing"),
        (
            "train.json",
            lambda c: c["loss"].update(_target_="radseg.pipelines.losses.Dise"),
            "loss: there is no 'radseg",
        ),
        ("train.json", lambda c: c["loss"].update(alfa=1), "loss: .*DiceTverskyLoss takes no argument 'alfa'"),
        ("inference.json", lambda c: c.update(inferer="@infere"), "inference.json: inferer: refers to @infere"),
        ("inference.json", lambda c: c.pop("evaluator"), "MONAI wants the property 'evaluator'"),
        (
            "metadata.json",
            lambda c: c["network_data_format"]["outputs"]["pred"].update(num_channels=7),
            "network_data_format: .*channel",
        ),
    ],
)
def test_a_mistake_becomes_one_line(copy: Path, file: str, change: Callable[[dict[str, Any]], Any], line: str) -> None:
    _edit(copy / file, change)
    problems = validate(copy, trust_config=True)
    assert problems
    assert all("\n" not in problem for problem in problems)
    assert any(__import__("re").search(line, problem) for problem in problems), problems


def test_shipped_weights_of_another_network_are_found(copy: Path) -> None:
    (copy / "models").mkdir(exist_ok=True)
    torch.save({"a": torch.zeros(1)}, copy / "models" / "model.pt")
    _edit(copy / "metadata.json", lambda about: about.update(weights_sha256=sha256_of(copy / "models" / "model.pt")))
    assert any("weights of another network" in problem for problem in validate(copy, trust_config=True))
