"""An earlier training is never lost, and a folder that can't be written is said at once."""

import errno
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine

from radseg.pipelines.errors import ConfigError, InputError, RadsegError, WeightsError
from radseg.pipelines.handlers import StepLoss
from radseg.pipelines.report.plots import training_curves
from radseg.pipelines.report.plots.training_curves import Training as Course
from radseg.pipelines.train import prepare_output, train
from radseg.pipelines.training.epoch_dataset import EpochDataset


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "spine"
    folder.mkdir(parents=True)
    (folder / "model.pt").write_text("precious")
    return folder


def test_an_earlier_training_is_moved_aside(earlier: Path) -> None:
    prepare_output(earlier)
    (earlier / "model.pt").write_text("second")
    prepare_output(earlier)
    assert (earlier.parent / "spine.1" / "model.pt").read_text() == "precious"
    assert (earlier.parent / "spine.2" / "model.pt").read_text() == "second"
    assert list(earlier.iterdir()) == []


def test_resuming_leaves_it_and_overwriting_removes_it_alone(earlier: Path) -> None:
    (earlier / "masks").mkdir()
    with pytest.raises(WeightsError, match="nothing to resume"):
        prepare_output(earlier, resume=True)
    (earlier / "last.pt").touch()
    prepare_output(earlier, resume=True)
    assert (earlier / "model.pt").read_text() == "precious"
    prepare_output(earlier, overwrite=True)
    assert [path.name for path in earlier.iterdir()] == ["masks"]
    assert [folder.name for folder in earlier.parent.iterdir()] == ["spine"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"datalist": "missing.json"},
        {"network_def#features": [1, 2]},
        {"optimizer#lr": -1.0},
        {"max_epochs": "abc"},
        {"max_epochs": 0},
        {"amp": "maybe"},
    ],
    ids=str,
)
def test_a_training_that_cant_start_touches_nothing(earlier: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(RadsegError):
        train("spine", output_dir=earlier, overwrite=True, progress=False, **{"spacing_mm": [6.0] * 3, **wrong})
    assert [(path.name, path.read_text()) for path in earlier.iterdir()] == [("model.pt", "precious")]
    assert [folder.name for folder in earlier.parent.iterdir()] == ["spine"]


@pytest.mark.parametrize(
    ("bundle", "key"),
    [
        *(("spine", key) for key in ("max_epochs", "val_interval", "accumulate", "repeats", "samples_per_case")),
        ("lung_ct", "batch_size"),
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_counts_that_leave_nothing_to_train_are_refused_by_name(
    bundle: str, key: str, value: int, earlier: Path
) -> None:
    with pytest.raises(ConfigError, match=f"--{key}: must be at least 1, got {value}"):
        train(bundle, output_dir=earlier, overwrite=True, progress=False, **{key: value})
    assert (earlier / "model.pt").read_text() == "precious"


def test_a_folder_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"can't be written \(.*\); choose another --output_dir"):
        prepare_output(tmp_path / "file" / "runs")


LUNG: dict[str, Any] = {"network_def#features": [4, 8, 16, 32], "image_size": 64, "progress": False, "tracker": None}


def test_a_caller_is_told_of_every_epoch_as_the_history_has_it(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    train("lung_ct", output_dir=tmp_path, max_epochs=2, on_epoch=rows.append, **LUNG)
    assert rows == json.loads((tmp_path / "history.json").read_text())["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert not (tmp_path / "tensorboard").exists()


def test_a_training_leaves_a_picture_of_its_curves(tmp_path: Path) -> None:
    train("lung_ct", output_dir=tmp_path / "run", max_epochs=2, **LUNG)
    rows = json.loads((tmp_path / "run" / "history.json").read_text())["epochs"]
    kept = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["best_metric_epoch"]
    expected = training_curves([Course("run", 0, rows, kept)])
    assert (tmp_path / "run" / "curves.png").read_bytes() == expected


def test_a_picture_that_cant_be_written_costs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "curves.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    result = train("lung_ct", output_dir=tmp_path, max_epochs=1, **LUNG)
    assert (result.epochs, result.weights) == (1, tmp_path / "model.pt")
    assert f"{tmp_path / 'curves.png'}: can't be written (No space left on device)" in caplog.text
    assert not [path.name for path in tmp_path.iterdir() if "curves" in path.name]


def test_a_picture_that_cant_be_drawn_costs_no_training_and_is_drawn_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def torn(courses: Any) -> bytes:
        raise TypeError("In FT2Font: Could not draw it")

    with monkeypatch.context() as patch:
        patch.setattr("radseg.pipelines.report.plots.training_curves", torn)
        assert train("lung_ct", output_dir=tmp_path, max_epochs=1, **LUNG).epochs == 1
    assert f"{tmp_path / 'curves.png'}: can't be written (In FT2Font: Could not draw it)" in caplog.text
    assert not (tmp_path / "curves.png").exists()
    assert train("lung_ct", output_dir=tmp_path, max_epochs=1, resume=True, **LUNG).epochs == 1
    assert (tmp_path / "curves.png").is_file()


def test_what_a_caller_raises_ends_the_training_and_comes_out_as_it_is(tmp_path: Path) -> None:
    class PrunedError(Exception):
        pass

    def prune(row: dict[str, float]) -> None:
        raise PrunedError(row["epoch"])

    with pytest.raises(PrunedError) as ended:
        train("lung_ct", output_dir=tmp_path, max_epochs=5, on_epoch=prune, **LUNG)
    assert ended.value.args == (1,)
    assert len(json.loads((tmp_path / "history.json").read_text())["epochs"]) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_stop_a_training_says_how_to_go_on_and_goes_on_as_if_it_hadn_t_been(
    number: int, code: int, radseg: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = ["--network_def#features", "[4,8,16,32]", "--image_size", "64", "--batch_size", "4", "--accumulate", "2"]
    command = ["train", "lung_ct", "--max_epochs", "2", "-q", *options, "-o"]
    assert radseg(*command, tmp_path / "whole").code == 0
    share = StepLoss._share

    def then_stop(self: StepLoss, engine: Engine) -> None:
        share(self, engine)
        if engine.state.iteration == 9:
            signal.raise_signal(number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(StepLoss, "_share", then_stop)
        ended = radseg(*command, tmp_path / "stopped")
    signal.signal(signal.SIGINT, before)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err == "interrupted; what was finished is kept, --resume goes on where it stopped\n"
    saved = torch.load(tmp_path / "stopped" / "last.pt", weights_only=True)
    assert (saved["epoch"], saved["position"]["steps"], len(saved["losses"])) == (0, 10, 10)
    assert radseg(*command, tmp_path / "stopped", "--resume").code == 0
    histories = [(tmp_path / name / "history.json").read_text() for name in ("whole", "stopped")]
    assert histories[0] == histories[1]
    networks = [torch.load(tmp_path / name / "last.pt", weights_only=True)["network"] for name in ("whole", "stopped")]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


X_RAY: dict[str, Any] = {"image_size": 64, "batch_size": 4, "progress": False, "tracker": None}
# of each bundle: small settings, an item of its training set, and what that is called
SPOILT: dict[str, tuple[dict[str, Any], int, str]] = {
    "spine": (
        {"network_def#features": [4, 8, 16, 32, 64], "roi_size": [32, 32, 32], "spacing_mm": [3.0, 3.0, 3.0],
         "progress": False, "tracker": None}, 2, "spine03.nii.gz",
    ),
    "lung_ct": (LUNG, 7, "lung01.nii.gz (slice 7)"),
    "lung_xray": ({**X_RAY, "network_def#features": 4}, 7, "chest04_ap.png (slice 0)"),
    "pelvis_xray": ({**X_RAY, "network_def#encoder": "mobilenetv2"}, 6, "pelvis07.png (slice 0)"),
}  # fmt: skip


@pytest.mark.parametrize("bundle", SPOILT)
def test_a_loss_that_is_no_number_names_the_images_and_the_last_good_checkpoint_stays(
    bundle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, spoilt, name = SPOILT[bundle]
    take = EpochDataset.__getitem__

    def spoil(self: EpochDataset, index: int) -> Any:
        items = take(self, index)
        if self.epoch == 2 and index == spoilt:
            for item in items if isinstance(items, list) else [items]:
                item["image"] = item["image"] * float("nan")
        return items

    monkeypatch.setattr(EpochDataset, "__getitem__", spoil)
    with pytest.raises(ConfigError, match=rf"diverged in epoch 2 \(loss not finite\).*{re.escape(name)}"):
        train(bundle, output_dir=tmp_path, max_epochs=3, **settings)
    for file in ("model.pt", "last.pt"):
        saved = torch.load(tmp_path / file, weights_only=True)
        network = saved if file == "model.pt" else saved["network"]
        assert all(torch.isfinite(value).all() for value in network.values())
    assert saved["epoch"] == 1
