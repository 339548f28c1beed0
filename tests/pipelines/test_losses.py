"""The losses: by hand, against their parts or their source's formula, and on empty masks."""

import math

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss, TverskyLoss

from radseg.pipelines.losses import BinaryFocalDiceLoss, DiceTverskyLoss

# TP 1, FP 2, FN 1 with certain probabilities
PROBABILITY = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 5)
TARGET = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0]).reshape(1, 1, 1, 5)
DICE = 1 - 2 / 5
TVERSKY = 1 - 1 / (1 + 0.3 * 2 + 0.7 * 1)


def test_a_hand_computed_case() -> None:
    loss = DiceTverskyLoss(sigmoid=False)(PROBABILITY, TARGET)
    assert loss.item() == pytest.approx(DICE + TVERSKY, abs=1e-4)


def test_logits_and_probabilities_give_the_same_loss() -> None:
    logits = torch.where(PROBABILITY > 0.5, 30.0, -30.0)
    loss = DiceTverskyLoss()(logits, TARGET)
    assert loss.item() == pytest.approx(DICE + TVERSKY, abs=1e-4)


def test_the_weights_scale_the_terms() -> None:
    assert DiceTverskyLoss(sigmoid=False, tversky_weight=0)(PROBABILITY, TARGET).item() == pytest.approx(DICE, abs=1e-4)
    loss = DiceTverskyLoss(sigmoid=False, dice_weight=2, tversky_weight=0.5)(PROBABILITY, TARGET)
    assert loss.item() == pytest.approx(2 * DICE + 0.5 * TVERSKY, abs=1e-4)


def test_a_missed_pixel_costs_more_than_an_invented_one() -> None:
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    missed = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    loss = DiceTverskyLoss(sigmoid=False, dice_weight=0)
    # the same two masks with the roles swapped: 1 − 1/1.7 against 1 − 1/1.3
    assert loss(missed, target).item() == pytest.approx(1 - 1 / 1.7, abs=1e-4)
    assert loss(target, missed).item() == pytest.approx(1 - 1 / 1.3, abs=1e-4)


@pytest.mark.parametrize("shape", [(3, 1, 8, 9), (2, 2, 5, 6, 7)])
@pytest.mark.parametrize("batch", [False, True])
def test_it_is_the_sum_of_monais_losses_in_2d_and_3d(shape: tuple[int, ...], batch: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator)
    target = (torch.rand(shape, generator=generator) > 0.7).float()
    monai = DiceLoss(sigmoid=True, batch=batch)(logits, target) + 2 * TverskyLoss(
        sigmoid=True, alpha=0.2, beta=0.8, batch=batch
    )(logits, target)
    ours = DiceTverskyLoss(alpha=0.2, beta=0.8, tversky_weight=2, batch=batch)(logits, target)
    torch.testing.assert_close(ours, monai)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("logit", [-20.0, 0.0, 20.0])
def test_loss_and_gradient_are_finite_without_lesion(dtype: torch.dtype, logit: float) -> None:
    # 512 · 512 probabilities near 1 would overflow a sum in float16
    logits = torch.full((1, 1, 512, 512), logit, dtype=dtype, requires_grad=True)
    loss = DiceTverskyLoss()(logits, torch.zeros(1, 1, 512, 512, dtype=torch.uint8))
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_nothing_predicted_where_nothing_is_costs_nothing() -> None:
    loss = DiceTverskyLoss()(torch.full((1, 1, 16, 16), -40.0), torch.zeros(1, 1, 16, 16))
    assert loss.item() == pytest.approx(0, abs=1e-4)


def test_training_on_it_finds_the_mask() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:5, 3:6] = 1
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        DiceTverskyLoss()(logits, target).backward()
        optimizer.step()
    assert torch.equal((logits > 0).float(), target)


@pytest.mark.parametrize("wrong", [{"alpha": -0.1}, {"dice_weight": 0, "tversky_weight": 0}])
def test_weights_that_make_no_loss_are_refused_at_construction(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must not"):
        DiceTverskyLoss(**wrong)  # type: ignore[arg-type]


def focal_dice_of_segmentation_models(pr: np.ndarray, gt: np.ndarray) -> float:
    """``binary_focal_dice_loss`` of segmentation_models 1.0.1, channels last, as its functional.py computes it."""
    pr_clipped = np.clip(pr, 1e-7, 1 - 1e-7)
    loss_1 = -gt * (0.25 * (1 - pr_clipped) ** 2.0 * np.log(pr_clipped))
    loss_0 = -(1 - gt) * ((1 - 0.25) * pr_clipped**2.0 * np.log(1 - pr_clipped))
    axes = (0, 1, 2)
    tp = np.sum(gt * pr, axis=axes)
    fp = np.sum(pr, axis=axes) - tp
    fn = np.sum(gt, axis=axes) - tp
    score = (2 * tp + 1e-5) / (2 * tp + fn + fp + 1e-5)
    return float(np.mean(loss_0 + loss_1) + 1 - np.mean(score))


def test_focal_dice_of_a_hand_computed_case() -> None:
    logits = torch.tensor([math.log(3), -math.log(3)]).reshape(1, 1, 1, 2)  # probabilities 3/4 and 1/4
    target = torch.tensor([1.0, 1.0]).reshape(1, 1, 1, 2)
    focal = 0.25 * (1 / 16 * math.log(4 / 3) + 9 / 16 * math.log(4)) / 2
    dice = 1 - 2 * 1 / (1 + 2)
    assert BinaryFocalDiceLoss()(logits, target).item() == pytest.approx(focal + dice, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 8, 9), (4, 1, 16, 16), (3, 2, 5, 6)])
def test_focal_dice_is_that_of_segmentation_models(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(shape, generator=generator)
    target = (torch.rand(shape, generator=generator) > 0.7).float()
    target[0] = 0  # the sums run over the batch, so that an empty mask beside others doesn't weigh as an image
    channels_last = (0, 2, 3, 1)
    expected = focal_dice_of_segmentation_models(
        logits.double().sigmoid().permute(channels_last).numpy(), target.double().permute(channels_last).numpy()
    )
    assert BinaryFocalDiceLoss()(logits, target).item() == pytest.approx(expected, abs=1e-6)


def test_focal_dice_by_image_averages_the_images() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 4, 4, generator=generator)
    target = (torch.rand(3, 1, 4, 4, generator=generator) > 0.5).float()
    loss = BinaryFocalDiceLoss(batch=False)
    apart = [loss(logits[i : i + 1], target[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(logits, target), torch.stack(apart).mean())
    assert not torch.isclose(BinaryFocalDiceLoss()(logits, target), loss(logits, target), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("logit", [-200.0, 0.0, 200.0])
def test_focal_dice_and_its_gradient_are_finite_without_foreground(dtype: torch.dtype, logit: float) -> None:
    logits = torch.full((1, 1, 512, 512), logit, dtype=dtype, requires_grad=True)
    loss = BinaryFocalDiceLoss()(logits, torch.zeros(1, 1, 512, 512, dtype=torch.uint8))
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_focal_dice_costs_nothing_where_nothing_is_and_nothing_is_predicted() -> None:
    loss = BinaryFocalDiceLoss()(torch.full((1, 1, 16, 16), -40.0), torch.zeros(1, 1, 16, 16))
    assert loss.item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("wrong", [{"gamma": -1}, {"alpha": 1.5}])
def test_focal_parameters_out_of_range_are_refused_at_construction(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        BinaryFocalDiceLoss(**wrong)  # type: ignore[arg-type]
