"""A temperature changes how sure a mask is and never the mask; doubt is kept where there is a label."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from radseg.pipelines.engine.combine import Activation, differing, entropy, mean_probability
from radseg.pipelines.engine.restore import Restore
from radseg.pipelines.errors import ConfigError

_SPEC = importlib.util.spec_from_file_location("test_restore", Path(__file__).parent / "test_restore.py")
assert _SPEC is not None
assert _SPEC.loader is not None
restoring: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(restoring)


def case(classes: int, members: int = 1) -> tuple[Any, torch.Tensor, Activation]:
    """An image that was resampled, and logits of members that differ a little."""
    image = restoring.prepared(restoring.PLAIN, (15, 14, 9))
    shape = tuple(image.shape[1:])
    logits = [restoring.blobs(classes, shape, background=1.0) + restoring.blobs(classes, shape, m) for m in (1, 2, 3)]
    return image, torch.cat(logits[:members]), restoring.activation_of(classes)


@pytest.mark.parametrize("temperature", [0.3, 4.0])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("way", ["planes", "transform"])
def test_no_voxel_changes_its_label_with_the_temperature(
    classes: int, members: int, temperature: float, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "transform":
        monkeypatch.setattr("radseg.pipelines.engine.restore.grid_path", lambda image: None)
    image, logits, activation = case(classes, members)
    slabs = restoring.sliced(logits, 2, [3])
    options: dict[str, Any] = {"probability": True, "transform": Compose([restoring.PLAIN])}
    plain = Restore(activation, **options)(slabs, image, members)
    calibrated = Restore(activation, **options, temperature=temperature)(
        restoring.sliced(logits, 2, [3]), image, members
    )
    assert torch.equal(plain.pred.as_tensor(), calibrated.pred.as_tensor())
    assert plain.pred.as_tensor().any()
    assert plain.probability is not None
    assert calibrated.probability is not None
    certain = [abs(one.probability.float() - 127.5).mean() for one in (plain, calibrated)]
    assert (certain[1] > certain[0]) == (temperature < 1)
    if members > 1:
        assert plain.uncertainty is not None
        assert calibrated.uncertainty is not None
        assert (calibrated.uncertainty.float().mean() > plain.uncertainty.float().mean()) == (temperature > 1)
        assert torch.equal(plain.differing, calibrated.differing)


def test_probabilities_that_a_mask_is_made_of_stay_and_calibrated_ones_come_beside_them() -> None:
    image, logits, _ = case(1)
    plain = Restore("sigmoid", output="probability")(restoring.sliced(logits, 0, []), image)
    calibrated = Restore("sigmoid", output="probability", temperature=2.0)(restoring.sliced(logits, 0, []), image)
    assert torch.equal(plain.pred.as_tensor(), calibrated.pred.as_tensor())
    assert plain.probability is None
    assert calibrated.probability is not None
    halved = Restore("sigmoid", output="probability")(restoring.sliced(logits / 2, 0, []), image)
    expected = (halved.pred.as_tensor() * 255).round()
    assert (calibrated.probability.float() - expected).abs().max() <= 1


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("way", ["planes", "transform"])
def test_one_pass_keeps_its_entropy_where_there_is_a_label(
    classes: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "transform":
        monkeypatch.setattr("radseg.pipelines.engine.restore.grid_path", lambda image: None)
    image, logits, activation = case(classes)
    transform = Compose([restoring.PLAIN])
    kept = Restore(activation, entropy=True, transform=transform)(restoring.sliced(logits, 2, [2, 5]), image)
    plain = Restore(activation, transform=transform)(restoring.sliced(logits, 2, [2, 5]), image)
    assert torch.equal(kept.pred.as_tensor(), plain.pred.as_tensor())
    assert plain.entropy is None
    assert kept.uncertainty is None
    assert kept.entropy is not None
    everywhere = entropy(mean_probability(logits, 1, activation), activation)
    there = restoring.stock(everywhere[None].logit(), image, transform, discrete=False).as_tensor()[0]
    labelled = kept.pred.as_tensor()[0] > 0
    assert labelled.any()
    assert (kept.entropy.float() / 255 - there)[labelled].abs().max() < 0.01


def test_members_differ_where_one_of_them_has_another_label() -> None:
    logits = torch.tensor([[2.0, 0, 0, 2], [0, 1, 2, 0], [2, 0, 2, 2], [0, 2, 0, 0]])[:, None, None]  # 2 × 2 classes
    assert differing(logits, 2, "softmax").flatten().tolist() == [False, False, True, False]
    one = torch.tensor([0.9, 0.4, 0.6]).logit().reshape(3, 1, 1, 1)
    assert bool(differing(one, 3, "sigmoid"))
    assert not bool(differing(one, 3, "sigmoid", threshold=0.3))
    assert not bool(differing(one, 3, "sigmoid", covered=torch.zeros(1, 1, 1, dtype=torch.bool)))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_can_not_be_is_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match="a number above 0"):
        Restore("sigmoid", temperature=temperature)


def test_the_disagreement_map_lies_on_the_source_grid() -> None:
    image, logits, activation = case(3, 3)
    restored = Restore(activation)(restoring.sliced(logits, 1, [4]), image, 3)
    assert restored.differing is not None
    assert restored.differing.shape == restored.pred.shape[1:]
    assert set(np.unique(restored.differing)) == {0, 1}
    share = float(differing(logits, 3, activation).float().mean())
    assert float(restored.differing.float().mean()) == pytest.approx(share, rel=0.1)
