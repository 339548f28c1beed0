"""Training from submitted labels: typed requests, one at a time, a new version only from a training that ended well."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("monailabel")

from label_app import first_versions, radiographs, truth

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.label_server.durable import locked
from radseg.pipelines.label_server.models.serving import Serving
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.store.datastore import LabelStore
from radseg.pipelines.label_server.tasks import train as module
from radseg.pipelines.label_server.tasks.train import Settings, Train, split
from radseg.pipelines.train import Training


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """Four radiographs with labels."""
    store = LabelStore(radiographs(tmp_path / "studies", 4))
    for image in store.list_images():
        store.save_label(image, str(truth(image)), "final", {})
    return store


@pytest.fixture
def trainer(tmp_path: Path) -> Train:
    serving = first_versions(tmp_path / "workspace", "lung_xray")
    return Train(serving.models["lung_xray"], serving)


def test_an_epoch_on_submitted_labels_makes_a_version_that_serves(
    store: LabelStore, trainer: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Settings.overrides
    monkeypatch.setattr(Settings, "overrides", lambda self: {**asked(self), "image_size": 64})  # for speed
    told = trainer({"model": "lung_xray", "max_epochs": 1, "val_split": 0.25, "device": "cuda"}, store)
    versions = trainer.serving.versions
    assert told["version"] == versions.current("lung_xray") == 2
    assert (told["labels"], told["training"], told["validation"], told["from_version"]) == (4, 3, 1, 1)
    assert "val_dice" in told["best_epoch"]
    first, second = versions.list("lung_xray")
    assert first.weights_sha256 != second.weights_sha256
    assert trainer.stats()["version"] == 2
    assert second.weights is not None
    serving = Serving(versions, ["lung_xray"], "cpu")
    assert serving.predict("lung_xray", store.source("chest01_ap")).version.number == 2


def test_labels_of_images_that_the_model_cannot_read_are_left_out_of_its_training(
    store: LabelStore, trainer: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct, mask = volume_and_mask(tmp_path)
    store.add_image("ct01", str(ct), {})
    store.save_label("ct01", str(mask), "final", {})
    seen: dict[str, Any] = {}

    def stop(folder: Path, **given: Any) -> Training:
        seen.update(json.loads(Path(given["datalist"]).read_text()))
        raise InputError("enough")

    monkeypatch.setattr(module, "train", stop)
    with pytest.raises(Refused, match="enough"):
        trainer({}, store)
    images = [Path(item["image"]).name for items in seen.values() for item in items]
    assert sorted(images) == sorted(f"{image}.png" for image in store.list_images() if image != "ct01")


def test_a_folder_without_a_labelled_image_of_the_models_kind_is_said_to_be_so(tmp_path: Path, trainer: Train) -> None:
    store = LabelStore(tmp_path / "cts")
    ct, mask = volume_and_mask(tmp_path)
    store.add_image("ct01", str(ct), {})
    store.save_label("ct01", str(mask), "final", {})
    with pytest.raises(Refused, match="of a kind that lung_xray reads") as told:
        trainer({}, store)
    assert told.value.status_code == 409


def volume_and_mask(folder: Path) -> tuple[Path, Path]:
    """A CT of noise and a mask on its grid, as NIfTI."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    values = np.random.default_rng(0).integers(-1000, 400, (24, 22, 8)).astype(np.int16)
    files = folder / "ct.nii.gz", folder / "ct-mask.nii.gz"
    for file, array in zip(files, (values, (values > 0).astype(np.uint8)), strict=True):
        nib.save(nib.Nifti1Image(array, affine), file)
    return files


def test_the_serving_versions_weights_go_on_being_trained_unless_told_otherwise(
    store: LabelStore, trainer: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def train(folder: Path, **options: Any) -> Training:
        given.append(options)
        weights = folder / "models" / "model.pt"
        return Training(weights, 1, 0.5, False)

    monkeypatch.setattr(module, "train", train)
    trainer({"max_epochs": 3, "learning_rate": "0.01"}, store)
    trainer({"pretrained": False}, store)
    assert given[0]["weights"] == trainer.serving.versions.list("lung_xray")[0].weights
    assert (given[0]["max_epochs"], given[0]["learning_rate"], given[0]["device"]) == (3, 0.01, "cpu")
    assert "batch_size" not in given[0]
    assert given[1]["weights"] is None
    assert [one.number for one in trainer.serving.versions.list("lung_xray")] == [1, 2, 3]


def test_a_training_that_fails_makes_no_version(
    store: LabelStore, trainer: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(folder: Path, **options: Any) -> Training:
        raise ConfigError("the training diverged in epoch 1 (loss not finite); lower learning_rate")

    monkeypatch.setattr(module, "train", train)
    with pytest.raises(Refused, match=r"^training of lung_xray failed: the training diverged"):
        trainer({}, store)
    assert trainer.serving.versions.current("lung_xray") == 1
    monkeypatch.undo()
    with locked(trainer.serving.versions.training_lock(), wait=False):
        pass  # the next may train


def test_what_is_said_of_a_failure_names_no_file(
    store: LabelStore, trainer: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = store.datalist()

    def train(folder: Path, **options: Any) -> Training:
        raise InputError(f"{pairs[1]['image']}: can't be read")

    monkeypatch.setattr(module, "train", train)
    with pytest.raises(Refused, match=r"^training of lung_xray failed: image 2: can't be read$"):
        trainer({}, store)
    assert "chest01" not in caplog.text


def test_a_training_whose_server_is_gone_ends(
    store: LabelStore, trainer: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = iter([1234, 1234, 1])

    def train(folder: Path, on_epoch: Any, **options: Any) -> Training:
        for epoch in range(1, 4):
            on_epoch({"epoch": epoch, "loss": 1.0})
        raise AssertionError("went on without a server")

    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module.os, "getppid", lambda: next(parents))
    with pytest.raises(Refused, match="the server that this training was for is gone"):
        trainer({}, store)
    assert trainer.serving.versions.current("lung_xray") == 1


def test_a_second_training_at_the_same_time_is_told_to_wait(store: LabelStore, trainer: Train) -> None:
    with (
        locked(trainer.serving.versions.training_lock()),
        pytest.raises(Refused, match=r"^another training is running; wait for its end or stop it$") as told,
    ):
        trainer({}, store)
    assert told.value.status_code == 429


def test_without_labels_there_is_nothing_to_train_from(trainer: Train, tmp_path: Path) -> None:
    store = LabelStore(radiographs(tmp_path / "studies", 2))
    with pytest.raises(Refused, match="no image has a final label yet"):
        trainer({}, store)
    store.save_label("chest01_ap", str(truth("chest01_ap")), "final", {})
    with pytest.raises(Refused, match="give val_split 0"):
        trainer({}, store)


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({"max_epochs": 0}, "max_epochs must be a whole number from 1 to 10000"),
        ({"max_epochs": "$import os"}, "max_epochs must be a whole number"),
        ({"max_epochs": 1.5}, "max_epochs must be a whole number"),
        ({"max_epochs": True}, "max_epochs must be a whole number"),
        ({"val_split": 1.0}, "val_split must be a number from 0 to 0.9"),
        ({"val_split": float("nan")}, "val_split must be a number"),
        ({"learning_rate": None}, "learning_rate must be a number"),
        ({"pretrained": "yes"}, "pretrained must be true or false"),
        ({"dataset_dir": "/etc"}, "training takes no 'dataset_dir'"),
        ({"network_def#_target_": "os.system"}, "training takes no 'network_def#_target_'"),
        ({"weights": "/elsewhere/x.pt"}, "training takes no 'weights'"),
    ],
)
def test_a_request_is_taken_by_allowed_keys_of_the_right_kind_alone(request_: dict[str, Any], line: str) -> None:
    with pytest.raises(Refused, match=line) as told:
        Settings.of(request_)
    assert told.value.status_code == 400


def test_what_clients_send_along_is_no_setting() -> None:
    noise = {"model": "lung_xray", "device": "$x", "gpus": "all", "local_rank": 0, "client_id": "me"}
    assert Settings.of(noise) == Settings()
    assert Settings.of({"max_epochs": "5"}).max_epochs == 5


def test_no_patient_is_on_both_sides_and_the_split_is_the_same_again() -> None:
    pairs = [{"image": f"/s/{n}.png", "label": f"/l/{n}.png", "patient": f"p{n % 5}"} for n in range(20)]
    sides = split(pairs, 0.2, seed=0)
    patients = [{item["patient"] for item in items} for items in sides.values()]
    assert not patients[0] & patients[1]
    assert len(sides["training"]) + len(sides["validation"]) == 20
    assert len(sides["validation"]) == 4
    assert split(list(reversed(pairs)), 0.2, seed=0)["validation"][::-1] == sides["validation"]
    assert split(pairs, 0, seed=0)["validation"] == split(pairs, 0, seed=0)["training"]


def test_what_a_killed_training_left_is_cleared_by_the_next(
    store: LabelStore, trainer: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = trainer.serving.versions.runs("lung_xray")
    (runs / "killed" / "training").mkdir(parents=True)
    (runs / "killed" / "training" / "last.pt").write_bytes(b"half")
    monkeypatch.setattr(
        module, "train", lambda folder, **options: Training(folder / "models" / "model.pt", 1, 0.5, False)
    )
    trainer({}, store)
    assert not (runs / "killed").exists()
