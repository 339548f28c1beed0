"""The same seed gives the same training, stopped or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import WeightsError

BUNDLES = ("spine", "lung_ct", "lung_xray", "pelvis_xray")


@pytest.fixture(scope="module", params=BUNDLES)
def bundle(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def uninterrupted(bundle: str, short_training: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return short_training(bundle, tmp_path_factory.mktemp(bundle), max_epochs=3)


def test_one_seed_gives_one_loss_series_and_one_network(
    bundle: str, uninterrupted: Any, short_training: Callable[..., Any], tmp_path: Path
) -> None:
    again = short_training(bundle, tmp_path, max_epochs=3)
    assert again.history["losses"] == uninterrupted.history["losses"]
    assert again.history["epochs"] == uninterrupted.history["epochs"]
    assert again.weights_hash == uninterrupted.weights_hash


def test_stopped_and_resumed_equals_uninterrupted(
    bundle: str, uninterrupted: Any, short_training: Callable[..., Any], tmp_path: Path
) -> None:
    short_training(bundle, tmp_path, max_epochs=1)
    resumed = short_training(bundle, tmp_path, max_epochs=3, resume=True)
    assert resumed.history == uninterrupted.history
    assert resumed.weights_hash == uninterrupted.weights_hash


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("optimizer", {"optimizer#_target_": "torch.optim.AdamW"}),
        ("optimizer", {"optimizer#_target_": "torch.optim.SGD"}),
        ("loss", {"loss": {"_target_": "DiceLoss", "sigmoid": True}}),
    ],
    ids=["AdamW", "SGD", "loss"],
)
def test_going_on_with_another_optimiser_or_loss_is_refused(
    name: str,
    settings: dict[str, Any],
    bundle: str,
    uninterrupted: Any,
    short_training: Callable[..., Any],
) -> None:
    folder = Path(uninterrupted.training.weights).parent
    (key,) = settings
    told = rf"other {name} \(--{key} was the bundle's own, is .*\); resume with the same settings"
    with pytest.raises(WeightsError, match=rf"last\.pt: was trained with {told}"):
        short_training(bundle, folder, max_epochs=4, resume=True, **settings)


def test_another_seed_gives_another_training(
    bundle: str, uninterrupted: Any, short_training: Callable[..., Any], tmp_path: Path
) -> None:
    other = short_training(bundle, tmp_path, max_epochs=1, seed=1)
    assert other.history["losses"][0] != uninterrupted.history["losses"][0]
