"""`data import` writes a datalist that trains at once, says how it was split, and never half of it."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.datalist import read_datalist
from radseg.pipelines.errors import InputError, RadsegError
from radseg.pipelines.import_dataset import Report, import_dataset


def _source(folder: Path, patients: int = 10, slices: int = 2) -> Path:
    """A folder of pairs, `slices` images of each patient."""
    for number in range(patients * slices):
        pixels = np.full((4, 4), number + 1, np.uint8)
        for kind in ("images", "masks"):
            file = folder / kind / f"p{number // slices:02d}_{number % slices}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return _source(tmp_path / "pairs")


def _import(source: Path, output: Path, **options: Any) -> Report:
    options = {"patient_pattern": r"p\d+", **options}
    return import_dataset("folder-of-pairs", source, output, progress=False, **options)


def _content(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "datalist.json").read_text())
    return content


def _tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_done_is_recorded(pairs: Path, tmp_path: Path) -> None:
    report = _import(pairs, tmp_path / "out", folds=3, seed=7)
    content = _content(tmp_path / "out")
    recorded = {key: content[key] for key in ("name", "layout", "split", "ratios", "folds", "seed")}
    assert recorded == {
        "name": "pairs",
        "layout": "folder-of-pairs",
        "split": "patient",
        "ratios": [70, 10, 20],
        "folds": 3,
        "seed": 7,
    }
    assert content["made"] == report.made == "by patient, 70/10/20, seed 7, 3 folds over training and validation"
    assert report.images == {"training": 14, "validation": 2, "test": 4}
    assert report.patients == {"training": 7, "validation": 1, "test": 2}
    assert report.leak is None
    assert "leak" not in content


def test_no_patient_is_on_two_sides_or_in_two_folds(pairs: Path, tmp_path: Path) -> None:
    _import(pairs, tmp_path / "out", folds=4)
    content = _content(tmp_path / "out")
    places = {
        (item["patient"], side, item.get("fold"))
        for side in ("training", "validation", "test")
        for item in content[side]
    }
    assert len(places) == 10
    assert {fold for _, side, fold in places if side != "test"} == {0, 1, 2, 3}
    assert {fold for _, side, fold in places if side == "test"} == {None}


def test_two_ratios_with_folds_validate_on_the_first_fold(pairs: Path, tmp_path: Path) -> None:
    report = _import(pairs, tmp_path / "out", ratios="80/20", folds=4)
    assert report.images == {"training": 12, "validation": 4, "test": 4}
    assert "(validation is fold 0)" in report.made
    for split in ("training", "validation"):
        plain = read_datalist(report.datalist, tmp_path / "out", split)
        first = read_datalist(report.datalist, tmp_path / "out", split, fold=0)
        assert {item["image"] for item in plain} == {item["image"] for item in first}


def test_the_paper_split_of_the_ct_slices_is_64_16_20(tmp_path: Path) -> None:
    for number in range(100):
        for kind in ("frames", "masks"):
            (tmp_path / "ct" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / "ct" / kind / f"Morozov_study_{number // 4:04d}_{number % 4}.png").touch()
    by_slice = import_dataset("kaggle-covid-ct", tmp_path / "ct", tmp_path / "slice", split="slice", progress=False)
    assert by_slice.images == {"training": 64, "validation": 16, "test": 20}
    assert by_slice.folds == 5
    content = _content(tmp_path / "slice")
    assert Counter(item["fold"] for side in ("training", "validation") for item in content[side]) == dict.fromkeys(
        range(5), 16
    )
    by_patient = import_dataset("kaggle-covid-ct", tmp_path / "ct", tmp_path / "patient", progress=False)
    assert by_patient.images == {"training": 64, "validation": 16, "test": 20}


@pytest.mark.parametrize("split", ["slice", "image"])
def test_a_split_by_slice_says_that_it_leaks(split: str, pairs: Path, tmp_path: Path) -> None:
    report = _import(pairs, tmp_path / "out", split=split)
    content = _content(tmp_path / "out")
    assert content["split"] == split
    assert report.leak is not None
    assert content["leak"] == report.leak
    sides: dict[str, set[str]] = {}
    for side in ("training", "validation", "test"):
        for item in content[side]:
            sides.setdefault(item["patient"], set()).add(side)
    torn = sum(len(on) > 1 for on in sides.values())
    assert torn > 0
    assert f"one patient may lie on both sides ({torn} patients do), a leak as in the papers" in report.leak


def test_the_same_seed_makes_the_same_file(pairs: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        _import(pairs, tmp_path / name, seed=seed)
    first, same, other = ((tmp_path / name / "datalist.json").read_bytes() for name in "abc")
    assert first == same
    assert _content(tmp_path / "a")["test"] != _content(tmp_path / "c")["test"]
    assert first != other


def test_images_stay_where_they_are(pairs: Path, tmp_path: Path) -> None:
    report = _import(pairs, tmp_path / "deep" / "out")
    assert [path.name for path in (tmp_path / "deep" / "out").iterdir()] == ["datalist.json"]
    item = _content(tmp_path / "deep" / "out")["training"][0]
    assert item["image"].startswith("../../pairs/images/p")
    assert len(read_datalist(report.datalist, report.datalist.parent, "training")) == 14


def test_the_output_may_be_the_data_set_itself(pairs: Path) -> None:
    report = _import(pairs, pairs)
    assert _content(pairs)["training"][0]["image"].startswith("images/p")
    assert len(read_datalist(report.datalist, pairs, "test")) == 4


def test_a_linked_output_leads_back_to_the_images(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    report = _import(pairs, tmp_path / "link")
    assert len(read_datalist(report.datalist, tmp_path / "link", "training")) == 14


def test_relative_paths_are_as_good(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = _import(Path("pairs"), Path("out"))
    assert len(read_datalist(report.datalist, "out", "training")) == 14


def test_a_copied_data_set_stands_alone(pairs: Path, tmp_path: Path) -> None:
    before = _tree(pairs)
    report = _import(pairs, tmp_path / "out", copy=True)
    shutil.rmtree(pairs)
    items = read_datalist(report.datalist, tmp_path / "out", "training")
    for item in items:
        name = Path(item["image"]).name
        assert Path(item["image"]).read_bytes() == before[f"images/{name}"]
        assert Path(item["label"]) == tmp_path / "out" / "labels" / name


def test_equal_names_in_two_folders_do_not_clash(tmp_path: Path) -> None:
    for site in ("a", "b"):
        _source(tmp_path / site, 3, 1)
        for kind in ("images", "masks"):
            (tmp_path / "both" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / site / kind).rename(tmp_path / "both" / kind / site)
    shutil.copyfile(tmp_path / "both" / "images" / "a" / "p02_0.png", tmp_path / "both" / "images" / "b" / "p00_0.png")
    _import(tmp_path / "both", tmp_path / "out", copy=True, patient_pattern=r"[ab]/p\d+")
    images = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    labels = sorted(path.name for path in (tmp_path / "out" / "labels").iterdir())
    assert images == labels
    assert len(images) == 6
    assert [name for name in images if name.startswith("p00_0-") and len(name) == len("p00_0-123456.png")]
    contents = {(tmp_path / "out" / "images" / name).read_bytes() for name in images if name.startswith("p00")}
    assert len(contents) == 2


def test_an_earlier_datalist_is_kept_unless_overwriting_is_asked_for(pairs: Path, tmp_path: Path) -> None:
    _import(pairs, tmp_path / "out", copy=True)
    before = _tree(tmp_path / "out")
    with pytest.raises(InputError, match=r"datalist\.json: is there already; .* --overwrite"):
        _import(pairs, tmp_path / "out", seed=3)
    assert _tree(tmp_path / "out") == before
    _import(pairs, tmp_path / "out", seed=3, overwrite=True)
    assert _content(tmp_path / "out")["seed"] == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["datalist.json"]


def test_folders_of_another_hand_are_never_replaced(pairs: Path, tmp_path: Path) -> None:
    before = _tree(pairs)
    with pytest.raises(InputError, match="images: is there already and wasn't written by an import"):
        _import(pairs, pairs, copy=True)
    assert _tree(pairs) == before
    (pairs / "datalist.json").write_text("{}")
    with pytest.raises(InputError, match="wasn't written by an import"):
        _import(pairs, pairs, copy=True, overwrite=True)
    assert _tree(pairs) == {**before, "datalist.json": b"{}"}


def test_an_import_never_deletes_what_it_imports(pairs: Path, tmp_path: Path) -> None:
    _import(pairs, tmp_path / "out", copy=True)
    before = _tree(tmp_path / "out")
    with pytest.raises(InputError, match="lies in the folder that would be replaced"):
        _import(tmp_path / "out", tmp_path / "out", labels="labels", overwrite=True)
    assert _tree(tmp_path / "out") == before


def test_a_full_disk_leaves_what_was_there(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[Path] = []

    def full(source: Path, target: Path) -> None:
        copied.append(target)
        if len(copied) > 5:
            raise OSError(28, "No space left on device", str(target))
        target.touch()

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(InputError, match="No space left on device; check the disk"):
            _import(pairs, tmp_path / "new" / "out", copy=True)
    assert not (tmp_path / "new").exists()
    _import(pairs, tmp_path / "out", copy=True)
    before = _tree(tmp_path / "out")
    copied.clear()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(InputError, match="No space left"):
            _import(pairs, tmp_path / "out", copy=True, overwrite=True)
    assert _tree(tmp_path / "out") == before


def test_a_replacement_that_fails_half_way_is_undone(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _import(pairs, tmp_path / "out", copy=True)
    before = _tree(tmp_path / "out")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.parent.name == ".import.part" and self.name == "datalist.json":
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(InputError, match="Input/output error"):
            _import(pairs, tmp_path / "out", copy=True, overwrite=True, seed=3)
    assert _tree(tmp_path / "out") == before


def test_a_replacement_that_was_killed_is_undone_by_the_next(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _import(pairs, out, copy=True)
    before = _tree(out)
    # as it stands when the power fails after the old result was set aside
    (out / ".import.old").mkdir()
    (out / ".import.part" / "images").mkdir(parents=True)
    for name in ("datalist.json", "labels"):
        (out / name).rename(out / ".import.old" / name)
    with pytest.raises(InputError, match="is there already"):
        _import(pairs, out)
    shutil.rmtree(out / ".import.part")
    assert _tree(out) == before
    _import(pairs, out, copy=True, overwrite=True)
    assert _tree(out) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "patients"}, "split 'patients' is unknown; there are patient, slice, image, published"),
        ({"split": "published"}, "has no published split; use --split patient"),
        ({"split": "published", "ratios": "70/10/20"}, "a published split has no ratios"),
        ({"ratios": "70:10:20"}, "give numbers between slashes, such as 70/10/20"),
        ({"ratios": "80/20"}, "two numbers leave no validation"),
        ({"ratios": "100"}, "give three numbers"),
        ({"ratios": (70, -10, 20)}, "give numbers from 0 up"),
        ({"folds": 9}, "8 patients or images can't fill 9 folds; ask for at most 8"),
        ({"folds": 1}, "needs at least 2"),
        ({"colour": "red"}, "has no option --colour"),
    ],
)
def test_a_wrong_option_is_told_and_leaves_nothing(
    options: dict[str, Any], message: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(RadsegError, match=message):
        _import(pairs, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("absent", "out", "absent: no such folder"),
        ("pairs/images/p00_0.png", "out", "isn't a folder; unpack"),
        ("pairs", "pairs/images/p00_0.png", "isn't a folder; choose another"),
    ],
)
def test_a_wrong_path_is_told(source: str, output: str, message: str, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        _import(tmp_path / source, tmp_path / output)


def test_a_store_is_imported_into_and_from(pairs: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    report = import_dataset("folder-of-pairs", pairs, f"{url}/copied", progress=False)
    assert report.datalist == f"{url}/copied/datalist.json"
    there = read_datalist(f"{url}/copied/datalist.json", f"{url}/copied", "training", None)
    assert len(there) == report.images["training"] > 0
    back = import_dataset("folder-of-pairs", f"{url}/copied", tmp_path / "back", labels="labels", progress=False)
    assert back.images == report.images
    assert len(list((tmp_path / "back" / "images").iterdir())) == sum(back.images.values())


def test_a_header_without_its_voxels_is_not_copied(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        for number in range(3):
            (tmp_path / "mhd" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / "mhd" / kind / f"{number}.mhd").touch()
    with pytest.raises(InputError, match="voxels lie in another file isn't copied; leave out --copy"):
        _import(tmp_path / "mhd", tmp_path / "out", copy=True)
    assert not (tmp_path / "out").exists()


def test_the_library_prints_nothing(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_dataset("folder-of-pairs", pairs, tmp_path / "out", split="slice").leak
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
