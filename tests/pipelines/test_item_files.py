"""Bad files of a dataset are all told of at once, before any work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.engine import Predictor
from radseg.pipelines.errors import InputError
from radseg.pipelines.evaluate import evaluate
from radseg.pipelines.item_files import MOST_NAMED, refuse_unreadable

XRAYS = Path(__file__).parents[2] / "sample_data" / "lung_xray"


def bad_items(folder: Path, count: int) -> list[dict[str, Any]]:
    items = []
    for number in range(count):
        (folder / f"bad{number}.png").write_bytes(b"not a picture")
        items.append({"image": str(folder / f"bad{number}.png")})
    return items


def test_good_files_pass() -> None:
    items = json.loads((XRAYS / "datalist.json").read_text())["training"]
    assert items
    refuse_unreadable({key: str(XRAYS / item[key]) for key in ("image", "label")} for item in items)


def test_every_bad_file_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        refuse_unreadable(bad_items(tmp_path, 3))
    said = str(told.value)
    assert said.startswith("3 files can't be read: (1) ")
    assert said.count("not readable as PNG or JPEG") == 3
    assert all(f"bad{number}.png" in said for number in range(3))
    assert said.endswith("mend them or take them out of the datalist")


def test_of_very_many_bad_files_some_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        refuse_unreadable(bad_items(tmp_path, MOST_NAMED + 4))
    assert str(told.value).count(".png:") == MOST_NAMED
    assert "and 4 more" in str(told.value)


def test_a_single_bad_file_is_told_as_reading_would_tell_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^/.*bad0\.png: not readable as PNG or JPEG"):
        refuse_unreadable(bad_items(tmp_path, 1))


def dataset(folder: Path, bad: tuple[str, ...] = ()) -> Path:
    """The sample X-rays with a test list of all their images, some of which hold nothing."""
    shutil.copytree(XRAYS, folder)
    content = json.loads((folder / "datalist.json").read_text())
    content["test"] = [*content["training"], *content["validation"], *content["test"]]
    (folder / "datalist.json").write_text(json.dumps(content))
    for item in content["test"]:
        if Path(item["image"]).stem in bad:
            (folder / item["image"]).write_bytes(b"")
    return folder


def test_evaluate_names_all_bad_images_before_it_predicts_any(
    small_weights: dict[str, Path], small: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [Path(item["image"]).stem for item in json.loads((XRAYS / "datalist.json").read_text())["training"]]
    place = dataset(tmp_path / "data", bad=(names[0], names[1]))
    predicted: list[object] = []
    monkeypatch.setattr(Predictor, "__call__", lambda *given, **_: predicted.append(given))
    with pytest.raises(InputError) as told:
        evaluate(
            "lung_xray", dataset_dir=str(place), output_dir=str(tmp_path / "out"), progress=False,
            weights=str(small_weights["lung_xray"]), **small["lung_xray"],
        )  # fmt: skip
    assert predicted == []
    assert "2 files can't be read" in str(told.value)
    assert names[0] in str(told.value)
    assert names[1] in str(told.value)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_evaluate_says_where_its_scores_are(
    radseg: Callable[..., Any],
    small_weights: dict[str, Path],
    small_options: Callable[[str], list[str]],
    tmp_path: Path,
) -> None:
    place = tmp_path / "scores"
    weights = ("--weights", small_weights["lung_xray"])
    ended = radseg("evaluate", "lung_xray", *weights, *small_options("lung_xray"), "-o", place)
    assert ended.code == 0, ended.err
    assert f"scores in {place}: metrics.csv, metrics.json" in ended.out.splitlines()
    assert {"metrics.csv", "metrics.json"} <= {file.name for file in place.iterdir()}
