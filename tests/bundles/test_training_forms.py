"""The forms of a training that are one override away, and how it ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from radseg.pipelines.errors import ConfigError, WeightsError
from radseg.pipelines.evaluate import evaluate
from radseg.pipelines.experiments.plan import read_plan
from radseg.pipelines.segment import segment

SPINE = Path(__file__).parents[2] / "sample_data" / "spine"
FORMS = {
    "2D, as in the paper": {"spatial_dims": 2, "roi_size": [1, 64, 64]},
    "fractures alone, as in the paper": {"out_channels": 1},
    "2D, fractures alone": {"spatial_dims": 2, "roi_size": [1, 64, 64], "out_channels": 1},
    "without a module": {"network_def#without": ["aspp", "rcbam"]},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_spine_trains_evaluates_and_segments(
    form: str, short_training: Callable[..., Any], tmp_path: Path
) -> None:
    override = FORMS[form]
    run = short_training("spine", tmp_path / "run", max_epochs=1, **override)
    assert run.training.absent_labels["training"] == ()
    same: dict[str, Any] = {
        "weights": str(run.training.weights), "progress": False, "spacing_mm": [3.0, 3.0, 3.0],
        "network_def#features": [4, 8, 16, 32, 64], "roi_size": [32, 32, 32], **override,
    }  # fmt: skip
    scores = evaluate("spine", output_dir=str(tmp_path / "scores"), **same)
    labels = ["fractured vertebra"] if override.get("out_channels") == 1 else ["vertebra", "fractured vertebra"]
    assert list(scores["mean"]) == labels
    assert all(row["metrics"]["voxels_truth"] > 0 for row in scores["rows"])
    batch = segment("spine", SPINE / "imagesTr" / "spine06.nii.gz", tmp_path / "masks", **same)
    assert batch.ok
    mask = nib.load(tmp_path / "masks" / "spine06" / "mask.nii.gz")
    assert mask.shape == nib.load(SPINE / "imagesTr" / "spine06.nii.gz").shape
    assert np.asarray(mask.dataobj).max() <= len(labels)


NARROW = {
    "U-Net": [4, 4, 8, 8, 16, 4],
    "U-Net++": [4, 4, 8, 8, 16, 4],
    "SegNet": [4, 4, 8, 8, 8],
    "FCN-8s": [4, 4, 8, 8, 8, 16],
    "DeepLabv3+": 4,
    "SpineGAN": [4, 8, 16],
}


@pytest.mark.parametrize("opponent", NARROW)
def test_each_opponent_of_spine_trains_on_volumes_in_bfloat16_and_segments(
    opponent: str, short_training: Callable[..., Any], tmp_path: Path
) -> None:
    plan = read_plan("spine", "compare")
    assert set(NARROW) == set(plan.variants) - {plan.baseline}
    override = {**plan.variants[opponent], "network_def#features": NARROW[opponent]}
    run = short_training("spine", tmp_path / "run", max_epochs=1, amp=True, trust_config=True, **override)
    assert run.training.epochs == 1
    assert all(np.isfinite(run.history["losses"]))
    of_network = {key: value for key, value in override.items() if key.startswith("network_def")}
    batch = segment(
        "spine", SPINE / "imagesTr" / "spine06.nii.gz", tmp_path / "masks", weights=str(run.training.weights),
        spacing_mm=[3.0, 3.0, 3.0], roi_size=[32, 32, 32], progress=False, **of_network,
    )  # fmt: skip
    assert batch.ok


XRAY_NETWORKS = [
    ("lung_xray", {"network_def#_target_": "radseg.networks.LungFCNN"}),
    ("lung_xray", {"network_def#_target_": "radseg.networks.LungDeepLab", "network_def#batch_norm": False}),
    ("pelvis_xray", {"network_def#encoder": "vgg16", "image_size": 32}),
]


@pytest.mark.parametrize(("bundle", "override"), XRAY_NETWORKS)
def test_another_network_of_the_papers_is_one_override_away(
    bundle: str, override: dict[str, Any], short_training: Callable[..., Any], small: dict[str, Any], tmp_path: Path
) -> None:
    run = short_training(bundle, tmp_path / "run", max_epochs=1, **override)
    same = {"weights": str(run.training.weights), "progress": False, **small[bundle], **override}
    image = sorted((SPINE.parent / bundle / "imagesTr").iterdir())[0]
    assert segment(bundle, image, tmp_path / "masks", **same).ok


def test_the_lowest_validation_loss_is_kept(short_training: Callable[..., Any], tmp_path: Path) -> None:
    run = short_training("lung_xray", tmp_path, max_epochs=4, learning_rate=0.05)
    losses = [epoch["val_loss"] for epoch in run.history["epochs"]]
    assert run.training.best_metric == pytest.approx(min(losses))
    assert len(set(losses)) == 4


def test_encoder_weights_start_a_training_and_a_wrong_file_is_one_line(
    short_training: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"no such weights file; mobilenetv2 takes"):
        short_training("pelvis_xray", tmp_path / "run", encoder_weights=str(tmp_path / "absent.h5"))
    assert not (tmp_path / "run").exists()


IMAGE = {
    "spine": r"spine\d\d\.nii\.gz",
    "lung_ct": r"lung\d\d\.nii\.gz \(slice \d+\)",
    "lung_xray": r"chest\d\d_[ap]+\.png \(slice 0\)",
    "pelvis_xray": r"pelvis\d\d\.png \(slice 0\)",
}
LOOK = "lower learning_rate, or look at what was in the batch"


@pytest.mark.parametrize("bundle", IMAGE)
def test_a_training_that_diverges_is_one_line_with_the_batch_s_images_and_leaves_no_weights(
    bundle: str, short_training: Callable[..., Any], tmp_path: Path
) -> None:
    batch = {} if bundle == "spine" else {"batch_size": 2}  # spine's is 1; several steps, so that a loss is spoilt
    images = ", ".join([rf"\S*{IMAGE[bundle]}"] * batch.get("batch_size", 1))
    with pytest.raises(ConfigError, match=rf"diverged in epoch 1 \(loss not finite\); {LOOK}: {images}$"):
        short_training(bundle, tmp_path / "run", learning_rate=1e30, **batch)
    assert not list((tmp_path / "run").glob("*.pt*"))


@pytest.mark.parametrize(("bundle", "items"), [("lung_xray", 8), ("pelvis_xray", 7)])  # an epoch of one step
def test_weights_that_the_last_step_spoils_are_one_line_with_its_images_and_arent_kept(
    bundle: str, items: int, short_training: Callable[..., Any], tmp_path: Path
) -> None:
    images = ", ".join([rf"\S*{IMAGE[bundle]}"] * items)
    with pytest.raises(ConfigError, match=rf"diverged in epoch 1 \(weights not finite\); {LOOK}: {images}$"):
        short_training(bundle, tmp_path / "run", learning_rate=1e30)
    assert not list((tmp_path / "run").glob("*.pt*"))


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    short_training: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("radseg.pipelines.weights.torch.save", full)
    with pytest.raises(ConfigError, match=r"can't be written \(No space left on device\); free space and use --resume"):
        short_training("lung_xray", tmp_path / "run", max_epochs=1)
    assert not list((tmp_path / "run").glob("*.part"))


@pytest.mark.parametrize("bundle", ["spine", "lung_ct", "lung_xray"])
def test_early_stopping_ends_a_training_that_doesnt_improve(
    bundle: str, short_training: Callable[..., Any], tmp_path: Path
) -> None:
    run = short_training(bundle, tmp_path, max_epochs=50, patience=1, learning_rate=0.0)
    assert run.training.stopped_early
    assert 2 <= run.training.epochs < 10
    again = short_training(bundle, tmp_path, max_epochs=50, patience=1, learning_rate=0.0, resume=True)
    assert again.training.epochs == run.training.epochs


def test_the_rate_falls_on_a_plateau(short_training: Callable[..., Any], tmp_path: Path) -> None:
    still = {"learning_rate": 1e-12, "lr_scheduler#patience": 0, "patience": 9}
    epochs = short_training("spine", tmp_path, max_epochs=4, **still).history["epochs"]
    rate, best, expected = 1e-12, -np.inf, []
    for epoch in epochs:  # by hand: better by one part in ten thousand, or 0.4 of the rate
        if epoch["val_mean_dice"] > best * (1 + 1e-4):
            best = epoch["val_mean_dice"]
        else:
            rate *= 0.4
        expected.append(rate)
    assert [epoch["learning_rate"] for epoch in epochs] == pytest.approx(expected)
    assert expected[-1] < expected[0]


def test_workers_of_the_loader_change_nothing(short_training: Callable[..., Any], tmp_path: Path) -> None:
    alone = short_training("lung_ct", tmp_path / "alone")
    helped = short_training("lung_ct", tmp_path / "helped", num_workers=2)
    assert helped.history["losses"] == alone.history["losses"]
    assert helped.weights_hash == alone.weights_hash
