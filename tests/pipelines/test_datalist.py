"""Datalists: which images belong to which split."""

import json
from pathlib import Path

import pytest

from radseg.pipelines.datalist import check_labels, images_of, read_datalist, sample_data
from radseg.pipelines.errors import InputError


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    items = []
    for number in range(4):
        (tmp_path / f"{number}.nii.gz").touch()
        items.append(
            {"image": f"{number}.nii.gz", "label": f"{number}.nii.gz", "patient": f"p{number}", "fold": number % 2}
        )
    content = {"training": items[:3], "validation": items[3:], "test": []}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    return tmp_path


def _numbers(dataset: Path, split: str, fold: int | None = None) -> list[int]:
    items = read_datalist(dataset / "datalist.json", dataset, split, fold)
    assert all(Path(item["image"]).is_absolute() for item in items)
    return [int(Path(item["image"]).name[0]) for item in items]


def test_without_a_fold_the_lists_stand_as_they_are(dataset: Path) -> None:
    assert _numbers(dataset, "training") == [0, 1, 2]
    assert _numbers(dataset, "validation") == [3]


def test_a_fold_is_validated_on_and_the_others_trained_on(dataset: Path) -> None:
    assert _numbers(dataset, "training", 0) == [1, 3]
    assert _numbers(dataset, "validation", 0) == [0, 2]


@pytest.mark.parametrize(
    ("split", "fold", "message"),
    [
        ("test", None, "no item in 'test'; it holds training, validation"),
        ("validation", 7, "'validation' of fold 7"),
        ("trainig", None, "'trainig' is unknown"),
    ],
)
def test_an_empty_or_unknown_split_is_refused(dataset: Path, split: str, fold: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_datalist(dataset / "datalist.json", dataset, split, fold)


def test_a_missing_file_is_named(dataset: Path) -> None:
    (dataset / "1.nii.gz").unlink()
    with pytest.raises(InputError, match=r"image .*1\.nii\.gz doesn't exist"):
        read_datalist(dataset / "datalist.json", dataset, "training")


@pytest.mark.parametrize("text", ["not json", "[1, 2]", '{"training": [{"label": "x"}]}'])
def test_a_malformed_datalist_is_one_line(dataset: Path, text: str) -> None:
    (dataset / "datalist.json").write_text(text)
    with pytest.raises(InputError) as refused:
        read_datalist(dataset / "datalist.json", dataset, "training")
    assert "\n" not in str(refused.value)


def test_without_sample_data_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="radseg data sample"):
        sample_data("nosuchbundle")


def test_the_decathlon_s_bare_test_paths_are_images(dataset: Path) -> None:
    content = json.loads((dataset / "datalist.json").read_text())
    (dataset / "datalist.json").write_text(json.dumps(content | {"test": ["2.nii.gz"]}))
    assert _numbers(dataset, "test") == [2]
    assert len(images_of(dataset / "datalist.json", dataset)) == 4


def test_a_label_that_the_bundle_doesnt_know_is_named() -> None:
    check_labels("a.nii.gz", [0, 2], 2)
    for wrong in (20, -3):
        with pytest.raises(InputError, match=rf"a\.nii\.gz: holds label {wrong}, the bundle knows 0 to 2"):
            check_labels("a.nii.gz", [0, wrong], 2)
