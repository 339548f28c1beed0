"""The dataset that docs/data.md shows works as it stands there."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.datalist import read_datalist
from radseg.pipelines.datasets import check

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """The example as a dataset: its datalist word for word, with a picture and a mask for each item."""
    (example,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "datalist.json").write_text(example, encoding="utf-8")
    content = json.loads(example)
    for number, item in enumerate([*content["training"], *content["validation"], *content["test"]]):
        for key in ("image", "label"):
            (tmp_path / item[key]).parent.mkdir(exist_ok=True)
        grey = np.random.default_rng(number).integers(0, 255, (64, 64)).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / item["image"])
        Image.fromarray(np.pad(np.full((32, 32), 255, np.uint8), 16)).save(tmp_path / item["label"])
    return tmp_path


def read(dataset: Path, split: str, fold: int | None = None) -> list[str]:
    items = read_datalist(dataset / "datalist.json", dataset, split, fold)
    return [Path(item["image"]).stem for item in items]


def test_the_example_has_its_lists_and_folds(shown: Path) -> None:
    assert read(shown, "training") == ["a1", "a2", "b1"]
    assert read(shown, "validation") == ["c1"]
    assert read(shown, "test") == ["d1"]
    assert read(shown, "validation", fold=0) == ["a1", "a2"]
    assert read(shown, "training", fold=0) == ["b1", "c1"]


def test_nothing_is_wrong_with_the_example(shown: Path) -> None:
    report = check(shown, progress=False)
    assert report.problems == []
    assert report.notes == []
    assert report.label_values == {0: 5, 1: 5}


def test_the_example_is_scored_by_the_list_and_the_fold_that_are_asked_for(
    shown: Path,
    radseg: Callable[..., Any],
    small_weights: dict[str, Path],
    small_options: Callable[[str], list[str]],
    tmp_path: Path,
) -> None:
    given = ("--dataset_dir", shown, "--weights", small_weights["lung_xray"], *small_options("lung_xray"))
    for options, cases in (((), 1), (("--split", "training"), 3), (("--fold", "0"), 2)):
        out = tmp_path / "out" / "-".join(options or ("test",))
        ended = radseg("evaluate", "lung_xray", *given, *options, "--threshold", "0.4", "-o", out)
        assert ended.code == 0, ended.err
        result = json.loads((out / "metrics.json").read_text())
        assert result["cases"] == cases
        assert result["overrides"]["threshold"] == 0.4


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("evaluate", ["--split", "--fold", "--threshold"]),
        ("train", ["--fold", "--max_epochs", "--learning_rate"]),
        ("segment", ["--threshold"]),
    ],
)
def test_help_lists_what_is_often_set(verb: str, options: list[str], radseg: Callable[..., Any]) -> None:
    said = radseg(verb, "--help").out
    assert all(re.search(rf"{option}\b", said) for option in options)
