"""`data merge` joins datasets without mixing their patients, and helpers never leave training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.datalist import read_datalist
from radseg.pipelines.errors import InputError
from radseg.pipelines.merge_datasets import merge_datasets


def _dataset(folder: Path, simulated: bool = False) -> Path:
    """Six images of patients p0 to p5: four in training (folds 0 and 1), one in validation, one in test."""
    items = []
    for number in range(6):
        for kind in ("images", "labels"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / kind / f"{number}.png")
        fold = {} if number == 5 else {"fold": number % 2}
        files = {"image": f"images/{number}.png", "label": f"labels/{number}.png"}
        items.append({**files, "patient": f"p{number}", **fold})
    content = {"training": items[:4], "validation": items[4:5], "test": items[5:]}
    (folder / "datalist.json").write_text(json.dumps({**content, **({"simulated": True} if simulated else {})}))
    return folder


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    real, helpers = _dataset(tmp_path / "real"), _dataset(tmp_path / "helpers", simulated=True)
    report = merge_datasets([real], tmp_path / "merged", train_only=[helpers])
    assert report.images == {"training": 10, "validation": 1, "test": 1}
    assert report.always_train == 6
    return tmp_path / "merged"


def _read(folder: Path, split: str, fold: int | None = None) -> list[dict[str, Any]]:
    return read_datalist(folder / "datalist.json", folder, split, fold)


@pytest.mark.parametrize("fold", [None, 0, 1])
def test_helpers_are_in_training_in_every_fold_and_nowhere_else(merged: Path, fold: int | None) -> None:
    helping = [item for item in _read(merged, "training", fold) if item["patient"].startswith("helpers/")]
    assert len(helping) == 6
    assert all(item["simulated"] and item["always_train"] for item in helping)
    for split in ("validation", "test"):
        assert all(item["patient"].startswith("real/") for item in _read(merged, split, fold))


def test_split_and_fold_of_the_others_stay(merged: Path, tmp_path: Path) -> None:
    for split in ("training", "validation", "test"):
        for fold in (None, 0, 1):
            before = [Path(item["image"]).resolve() for item in _read(tmp_path / "real", split, fold)]
            after = [Path(item["image"]).resolve() for item in _read(merged, split, fold) if "simulated" not in item]
            assert after == before


def test_patients_of_two_datasets_are_never_one(tmp_path: Path) -> None:
    merge_datasets([_dataset(tmp_path / "a"), _dataset(tmp_path / "b")], tmp_path / "merged")
    content = json.loads((tmp_path / "merged" / "datalist.json").read_text())
    patients = [item["patient"] for split in ("training", "validation", "test") for item in content[split]]
    assert len(set(patients)) == 12


def test_the_merged_folder_may_move_with_its_datasets(merged: Path, tmp_path: Path) -> None:
    text = (merged / "datalist.json").read_text()
    assert "../real/images/0.png" in text
    assert str(tmp_path) not in text


def test_what_cannot_be_merged_is_refused_in_one_line(tmp_path: Path) -> None:
    one, other, same = (_dataset(tmp_path / name) for name in ("one", "other", "below/one"))
    for sources, helpers, reason in (
        ([one], [], "at least two"),
        ([one, same], [], "two datasets are called one"),
        ([], [one, other], "every dataset is for training only"),
        ([one, tmp_path / "nowhere"], [], "no such datalist"),
    ):
        with pytest.raises(InputError, match=reason) as refused:
            merge_datasets(sources, tmp_path / "merged", train_only=helpers)
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "merged").exists()


def test_an_earlier_result_is_replaced_only_when_asked(merged: Path, tmp_path: Path) -> None:
    both = [tmp_path / "real", tmp_path / "helpers"]
    before = (merged / "datalist.json").read_bytes()
    with pytest.raises(InputError, match="--overwrite"):
        merge_datasets(both, merged)
    assert (merged / "datalist.json").read_bytes() == before
    assert merge_datasets(both, merged, overwrite=True).always_train == 0


def _with_labels(folder: Path, **labels: str) -> Path:
    """A dataset whose datalist says what the values mean."""
    file = _dataset(folder) / "datalist.json"
    named = {"0": "background", **{key.removeprefix("v"): name for key, name in labels.items()}}
    file.write_text(json.dumps({**json.loads(file.read_text()), "labels": named}))
    return folder


def test_datasets_of_other_organs_are_refused_with_both_their_labels(tmp_path: Path) -> None:
    lungs, pelves = _with_labels(tmp_path / "chests", v1="lung"), _with_labels(tmp_path / "hips", v1="pelvis")
    with pytest.raises(InputError) as refused:
        merge_datasets([lungs], tmp_path / "merged", train_only=[pelves])
    said = str(refused.value)
    assert said == (
        f"{pelves}: labels differ, chests's mean 1 lung and hips's mean 1 pelvis; "
        "merge those of one kind, or pass --mixed"
    )
    assert not (tmp_path / "merged").exists()


def test_a_label_that_only_one_dataset_has_is_no_small_difference(tmp_path: Path) -> None:
    one, two = _with_labels(tmp_path / "a", v1="vertebra"), _with_labels(tmp_path / "b", v1="vertebra", v2="fracture")
    with pytest.raises(InputError, match="labels differ"):
        merge_datasets([one, two], tmp_path / "merged")


def test_volumes_and_pictures_are_not_merged_unasked(tmp_path: Path) -> None:
    pictures, volumes = _dataset(tmp_path / "xrays"), tmp_path / "cts"
    volumes.mkdir()
    (volumes / "ct.nii.gz").write_bytes(b"")
    (volumes / "datalist.json").write_text(json.dumps({"training": [{"image": "ct.nii.gz", "patient": "p"}]}))
    with pytest.raises(InputError, match=r"cts: holds volumes or DICOM, xrays pictures; .* --mixed"):
        merge_datasets([pictures, volumes], tmp_path / "merged")
    assert merge_datasets([pictures, volumes], tmp_path / "merged", mixed=True).images["training"] == 5


def test_the_same_labels_are_merged_and_named_in_the_result(tmp_path: Path) -> None:
    real = _with_labels(tmp_path / "real", v1="lung")
    unnamed, simulated = _dataset(tmp_path / "unnamed"), _with_labels(tmp_path / "simulated", v1="labelled")
    merge_datasets([real, unnamed], tmp_path / "merged", train_only=[simulated])
    content = json.loads((tmp_path / "merged" / "datalist.json").read_text())
    assert content["labels"] == {"0": "background", "1": "lung"}


def test_a_name_that_says_nothing_gives_way_to_one_that_does(tmp_path: Path) -> None:
    simulated, real = _with_labels(tmp_path / "simulated", v1="labelled"), _with_labels(tmp_path / "real", v1="lung")
    merge_datasets([simulated, real], tmp_path / "merged")
    content = json.loads((tmp_path / "merged" / "datalist.json").read_text())
    assert content["labels"] == {"0": "background", "1": "lung"}


def test_other_labels_are_merged_when_asked_on_the_command_line(radseg: Any, tmp_path: Path) -> None:
    lungs, pelves = _with_labels(tmp_path / "chests", v1="lung"), _with_labels(tmp_path / "hips", v1="pelvis")
    refused = radseg("data", "merge", lungs, pelves, "-o", tmp_path / "merged")
    assert refused.code == 1
    assert "labels differ" in refused.err
    assert radseg("data", "merge", lungs, pelves, "-o", tmp_path / "merged", "--mixed").code == 0


def test_from_the_command_line(radseg: Any, tmp_path: Path) -> None:
    real, helpers = _dataset(tmp_path / "real"), _dataset(tmp_path / "helpers")
    ended = radseg("data", "merge", real, "--train-only", helpers, "-o", tmp_path / "merged")
    assert ended.code == 0
    assert "10 training, 1 validation, 1 test; 6 in training in every fold" in ended.out
