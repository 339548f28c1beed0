"""Weights run with other settings than they were trained with: told in a line that says which."""

import json
import logging
from pathlib import Path

import pytest
import torch

from radseg.pipelines.bundle_loader import find_bundle, load_workflow
from radseg.pipelines.errors import WeightsError
from radseg.pipelines.train import train
from radseg.pipelines.trained_with import settings_of, warn_of_other_settings

XRAYS = find_bundle("lung_xray")


def told(caplog: pytest.LogCaptureFixture, bundle: str, **overrides: object) -> list[str]:
    """What is said of a bundle's evaluation with these overrides."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="radseg"):
        for config in ("evaluate", "inference"):
            warn_of_other_settings(load_workflow(bundle, config, overrides), find_bundle(bundle))
    said = [record.getMessage() for record in caplog.records if record.name == "radseg.weights"]
    assert said[: len(said) // 2] == said[len(said) // 2 :]  # of evaluation and inference alike
    return said[: len(said) // 2]


def trained_in(folder: Path, **settings: object) -> str:
    """A weights file beside the history of a training with these settings."""
    folder.mkdir()
    torch.save({}, folder / "model.pt")
    (folder / "history.json").write_text(json.dumps({"settings": settings, "epochs": [], "losses": []}))
    return str(folder / "model.pt")


@pytest.mark.parametrize("bundle", ["spine", "lung_ct", "lung_xray", "pelvis_xray"])
def test_weights_that_ship_are_run_as_they_were_trained(bundle: str, caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, bundle) == []


def test_weights_that_ship_run_at_another_size_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, "lung_xray", image_size=64)
    assert line.endswith("model.pt: trained with image_size 256 (here 64); give --image_size 256")


def test_every_other_setting_is_named_with_what_to_give(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = trained_in(tmp_path / "run", spacing_mm=[2.0, 2.0, 2.0], spatial_dims=2, out_channels=3)
    (line,) = told(caplog, "spine", weights=weights)
    assert line == (
        f"{weights}: trained with spacing_mm [2.0, 2.0, 2.0] (here [1.0, 1.0, 1.0]), spatial_dims 2 (here 3); "
        'give --spacing_mm "[2.0,2.0,2.0]" --spatial_dims 2'
    )
    assert told(caplog, "spine", weights=weights, spacing_mm=[2, 2, 2], spatial_dims=2) == []


def test_networks_of_folds_are_looked_at_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained_in(tmp_path / "fold_0", image_size=256)
    other = trained_in(tmp_path / "fold_1", image_size=128)
    (line,) = told(caplog, "lung_xray", weights=str(tmp_path), folds=[0, 1])
    assert line.startswith(f"{other}: trained with image_size 128 (here 256)")


@pytest.mark.parametrize("history", [None, "no json", "[]", '{"epochs": []}'])
def test_of_weights_whose_training_is_not_known_nothing_is_said(
    history: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({}, tmp_path / "model.pt")
    if history is not None:
        (tmp_path / "history.json").write_text(history)
    assert told(caplog, "lung_xray", weights=str(tmp_path / "model.pt"), image_size=64) == []


def test_where_no_weights_are_given_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, "lung_xray", weights=None, image_size=64) == []


def test_how_images_are_prepared_is_a_setting_and_how_long_is_trained_is_none() -> None:
    settings = settings_of(load_workflow("lung_xray", "train", {"image_size": 64, "max_epochs": 3}), XRAYS)
    assert settings["image_size"] == 64
    assert settings["clahe_tiles"] == [8, 8]
    assert not {"max_epochs", "seed", "output_dir", "dataset_dir", "network_def", "device"} & settings.keys()


def test_a_training_knows_its_settings_when_its_weights_are_used_and_when_it_is_resumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = {"network_def#features": 4, "image_size": 64}
    trained = train("lung_xray", output_dir=str(tmp_path), max_epochs=1, tracker=None, progress=False, **small)
    assert json.loads((tmp_path / "history.json").read_text())["settings"]["image_size"] == 64
    (line,) = told(caplog, "lung_xray", weights=str(trained.weights), **{**small, "image_size": 128})
    assert "trained with image_size 64 (here 128)" in line
    assert told(caplog, "lung_xray", weights=str(trained.weights), **small) == []
    with pytest.raises(WeightsError) as refused:
        train(
            "lung_xray", output_dir=str(tmp_path), max_epochs=2, tracker=None, progress=False, resume=True,
            **{**small, "image_size": 128, "learning_rate": 0.5},
        )  # fmt: skip
    assert "(--image_size was 64, is 128; --learning_rate was the bundle's own, is 0.5)" in str(refused.value)
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save({**last, "overrides": None}, tmp_path / "last.pt")  # as MONAI's own command leaves it
    with pytest.raises(WeightsError, match=r"trained with other [^(]*; resume with the same settings"):
        train(
            "lung_xray", output_dir=str(tmp_path), max_epochs=2, tracker=None, progress=False, resume=True,
            **{**small, "learning_rate": 0.5},
        )  # fmt: skip
