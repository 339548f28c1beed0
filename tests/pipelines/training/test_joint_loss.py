"""The Dice loss of several processes is MONAI's where there is one; test_distributed.py has several."""

from typing import Any

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
from torch import nn

from radseg.pipelines.losses import BinaryFocalDiceLoss, DiceTverskyLoss
from radseg.pipelines.training.joint_loss import JointDiceLoss, joint_loss, joint_parts

SETTINGS: list[dict[str, Any]] = [
    {"softmax": True, "to_onehot_y": True, "include_background": False},
    {"softmax": True, "to_onehot_y": True, "smooth_nr": 1.0, "smooth_dr": 2.0},
    {"sigmoid": True},
    {},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("size", [(6, 7), (4, 5, 6)])
def test_alone_it_is_monai_s(settings: dict[str, Any], size: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *size, generator=generator)
    channels = 1 if settings.get("to_onehot_y") else 3
    target = torch.randint(0, 3 if channels == 1 else 2, (2, channels, *size), generator=generator)
    monai = DiceLoss(batch=True, **settings)
    torch.testing.assert_close(joint_loss(monai)(logits, target), monai(logits, target))


def test_a_loss_keeps_all_but_its_dice_and_stays_as_it_is_itself() -> None:
    loss = DiceCELoss(softmax=True, to_onehot_y=True, batch=True, lambda_ce=0.5)
    joint = joint_loss(loss)
    assert [type(part) for part in joint_parts(joint)] == [JointDiceLoss]
    assert list(joint_parts(loss)) == []
    assert joint.cross_entropy is loss.cross_entropy
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
    torch.testing.assert_close(joint(logits, target), loss(logits, target))


@pytest.mark.parametrize(
    "loss",
    [DiceTverskyLoss(), nn.BCEWithLogitsLoss(), BinaryFocalDiceLoss(batch=False), DiceLoss(batch=True, jaccard=True)],
    ids=lambda loss: type(loss).__name__,
)
def test_a_loss_with_nothing_to_sum_over_processes_is_given_back(loss: nn.Module) -> None:
    assert joint_loss(loss) is loss
    assert joint_loss(torch.sum) is torch.sum


def test_items_that_dont_count_change_nothing() -> None:
    joint = joint_loss(DiceLoss(sigmoid=True, batch=True))
    joint.counts = False
    logits = torch.randn(1, 1, 8, 8, requires_grad=True)
    joint(logits, torch.ones(1, 1, 8, 8)).backward()
    assert logits.grad is not None
    assert not logits.grad.any()
