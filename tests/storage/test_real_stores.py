"""The verbs read from and write to real stores as they do with folders."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.segment import segment

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_data" / "lung_ct"
SMALL = ["--network_def#features", "[4,8,16,32]", "--image_size", "64"]
PICTURES = ("lung01_14", "lung02_16")


@pytest.fixture
def images(box: Any) -> str:
    """A container with a DICOM series in a folder and two pictures beside it."""
    for file in sorted((SAMPLES / "dicom" / "lung04").iterdir()):
        box.put(f"images/lung04/{file.name}", file)
    for name in PICTURES:
        box.put(f"images/{name}.png", SAMPLES / "slices" / f"{name}.png")
    return f"{box.url}/images"


@pytest.fixture
def dataset(box: Any) -> str:
    """A container with a datalist, one picture to train on and one to validate on, and their masks."""
    for name in PICTURES:
        box.put(f"data/images/{name}.png", SAMPLES / "slices" / f"{name}.png")
        box.put(f"data/masks/{name}.png", SAMPLES / "slices_masks" / f"{name}.png")
    items = [{"image": f"images/{name}.png", "label": f"masks/{name}.png", "patient": name} for name in PICTURES]
    datalist = {"training": items[:1], "validation": items[1:], "test": items[1:]}
    box.put("data/datalist.json", json.dumps(datalist).encode())
    return f"{box.url}/data"


def _lines(box: Any, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in box.read(name).splitlines()]


def test_a_container_is_segmented_into_a_container(
    box: Any, images: str, radseg: Callable[..., Any], small_weights: dict[str, Path], tmp_path: Path
) -> None:
    out = f"{box.url}/out"
    weights = box.put("weights/lung_ct.pt", small_weights["lung_ct"])
    ended = radseg("segment", "lung_ct", images, "-o", out, "--weights", weights, "-q", *SMALL)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    lines = _lines(box, "out/manifest.jsonl")
    assert [line["status"] for line in lines] == ["done"] * 3
    files = {name for name in box.names() if name.startswith("out/")}
    expected = {"out/manifest.jsonl", "out/summary.csv", "out/index.html"}
    for line in lines:
        mask = "mask.nii.gz" if line["kind"] == "dicom" else "mask.png"
        expected |= {f"out/{line['case']}/{name}" for name in (mask, "preview.png", "statistics.json")}
    assert files == expected

    # the same as from and to a folder
    shutil.copytree(SAMPLES / "dicom" / "lung04", tmp_path / "in" / "lung04")
    for name in PICTURES:
        shutil.copy(SAMPLES / "slices" / f"{name}.png", tmp_path / "in")
    local = tmp_path / "local"
    radseg("segment", "lung_ct", tmp_path / "in", "-o", local, "--weights", small_weights["lung_ct"], "-q", *SMALL)
    for name in (name for name in expected if name.rpartition("/")[2].startswith("mask.png")):
        assert box.read(name) == (tmp_path / "local" / name.removeprefix("out/")).read_bytes()
    assert {line["case"] for line in _lines(box, "out/manifest.jsonl")} == {
        json.loads(line)["case"] for line in (local / "manifest.jsonl").read_text().splitlines()
    }

    # run again, nothing is done
    again = radseg("segment", "lung_ct", images, "-o", out, "--weights", weights, "-q", *SMALL)
    assert (again.code, again.err) == (0, "")
    assert _lines(box, "out/manifest.jsonl") == lines


def test_a_killed_run_goes_on_where_it_was(box: Any, small_weights: dict[str, Path]) -> None:
    for name in PICTURES:
        box.put(f"images/{name}.png", SAMPLES / "slices" / f"{name}.png")
    options: dict[str, Any] = {
        "weights": str(small_weights["lung_ct"]),
        "progress": False,
        "network_def#features": [4, 8, 16, 32],
        "image_size": 64,
    }
    first = segment("lung_ct", f"{box.url}/images", f"{box.url}/out", **options)
    assert (first.done, first.destination) == (list(PICTURES), f"{box.url}/out")
    assert first.sources[PICTURES[0]] == f"{box.url}/images/{PICTURES[0]}.png"
    assert segment("lung_ct", f"{box.url}/images", f"{box.url}/out", **options).skipped == list(PICTURES)

    # killed before the first one's line was written, and in the middle of the second one's upload
    box.put("out/manifest.jsonl", b"")
    client = box.server.client
    half = f"out/{PICTURES[1]}/statistics.json"
    if box.server.scheme == "az":
        client.get_blob_client(box.name, half).delete_blob()
    else:
        client.delete_object(Bucket=box.name, Key=half)
    third = segment("lung_ct", f"{box.url}/images", f"{box.url}/out", **options)
    assert (third.skipped, third.done) == ([PICTURES[0]], [PICTURES[1]])
    assert half in box.names()
    other = segment("lung_ct", f"{box.url}/images", f"{box.url}/out", **{**options, "threshold": 0.9})
    assert f"{box.url}/out/{PICTURES[0]}: there is already a result" in other.failed[PICTURES[0]]


def test_training_and_evaluation_live_in_a_container(box: Any, dataset: str, radseg: Callable[..., Any]) -> None:
    run = f"{box.url}/run"
    brief = [*SMALL, "--batch_size", "1", "-q"]
    ended = radseg("train", "lung_ct", "--dataset_dir", dataset, "--output", run, "--max_epochs", "1", *brief)
    assert (ended.code, ended.err) == (0, "")
    files = {name for name in box.names() if name.startswith("run/")}
    assert {"run/model.pt", "run/model.pt.sha256", "run/last.pt", "run/history.json"} <= files
    assert any(name.startswith("run/tensorboard/") for name in files)
    resumed = [*brief, "--max_epochs", "2", "--resume"]
    ended = radseg("train", "lung_ct", "--dataset_dir", dataset, "--output", run, *resumed)
    assert (ended.code, ended.err) == (0, "")
    assert [row["epoch"] for row in json.loads(box.read("run/history.json"))["epochs"]] == [1, 2]

    scores = [*SMALL, "-q", "--weights", f"{run}/model.pt", "--output", f"{box.url}/scores"]
    ended = radseg("evaluate", "lung_ct", "--dataset_dir", dataset, *scores)
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(box.read("scores/metrics.json"))
    assert [row["case"] for row in result["rows"]] == [PICTURES[1]]
    assert box.read("scores/metrics.csv").startswith(b"case,label,")

    # trained anew, the first training is set aside
    radseg("train", "lung_ct", "--dataset_dir", dataset, "--output", run, "--max_epochs", "1", *brief)
    assert len(json.loads(box.read("run.1/history.json"))["epochs"]) == 2
    assert len(json.loads(box.read("run/history.json"))["epochs"]) == 1


def test_weights_whose_recorded_sha256_is_another_are_refused(
    box: Any, radseg: Callable[..., Any], small_weights: dict[str, Path]
) -> None:
    weights = box.put("weights/lung_ct.pt", small_weights["lung_ct"])
    box.put("weights/lung_ct.pt.sha256", b"0" * 64)
    image = box.put("a.png", SAMPLES / "slices" / "lung01_14.png")
    ended = radseg("segment", "lung_ct", image, "-o", f"{box.url}/out", "--weights", weights, *SMALL)
    assert ended.code == 2
    assert f"error: {weights}: sha256 is" in ended.err


def test_a_downloaded_dataset_is_imported_from_a_container_into_another(
    box: Any, radseg: Callable[..., Any], tmp_path: Path
) -> None:
    for image in sorted((SAMPLES.parent / "pelvis_xray" / "imagesTr").iterdir()):
        box.put(f"raw/images/{image.name}", image)
        box.put(f"raw/masks/{image.name}", image.parents[1] / "labelsTr" / image.name)
    ended = radseg("data", "import", "folder-of-pairs", f"{box.url}/raw", f"{box.url}/ready")
    assert ended.code == 0, ended.err
    assert f"{box.url}/ready/datalist.json" in ended.out
    content = json.loads(box.read("ready/datalist.json"))
    assert [len(content[split]) for split in ("training", "validation", "test")] == [7, 1, 2]
    assert {f"ready/{item['image']}" for item in content["training"]} <= set(box.names())
    assert radseg("data", "check", f"{box.url}/ready", "-q").code == 0
    again = radseg("data", "import", "folder-of-pairs", f"{box.url}/raw", f"{box.url}/ready")
    assert again.code == 1
    assert "holds a datalist.json already" in again.err
    empty = radseg("data", "import", "folder-of-pairs", f"{box.url}/nothing", tmp_path / "out")
    assert (empty.code, (tmp_path / "out").exists()) == (1, False)


@pytest.mark.parametrize("what", ["dataset", "image", "empty", "datalist"])
def test_what_isnt_there_is_one_line(box: Any, radseg: Callable[..., Any], what: str) -> None:
    box.put("data/datalist.json", b'{"training": [{"image": "gone.png"}], "validation": [], "test": []}')
    ended = {
        "dataset": lambda: radseg("train", "lung_ct", "--dataset_dir", f"{box.url}/none"),
        "datalist": lambda: radseg("train", "lung_ct", "--dataset_dir", f"{box.url}/data"),
        "image": lambda: radseg("segment", "lung_ct", f"{box.url}/none.png", "-o", f"{box.url}/out"),
        "empty": lambda: radseg("data", "check", f"{box.url}-none"),
    }[what]()
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith(f"error: {box.url}")
    assert "no such file, folder or container; check the address" in line
