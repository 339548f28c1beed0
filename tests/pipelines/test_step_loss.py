"""A step of the optimiser follows the mean over its items, however many batches they come in."""

from typing import Any

import pytest
import torch
from monai.data import DataLoader
from toy_training import Images, toy_training

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.handlers import StepLoss
from radseg.pipelines.training.shard_sampler import ShardSampler


# 13 items: the last group has a single batch, and that has a single item
@pytest.mark.parametrize("items", [12, 13, 14])
def test_small_batches_that_are_accumulated_equal_a_big_one(items: int) -> None:
    big, small = toy_training(items=items, batch=6), toy_training(items=items, batch=2, accumulate=3)
    assert len(small.gradients) == len(big.gradients) == 2 * -(-items // 6)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(small.gradients, big.gradients, strict=True))
    assert torch.allclose(small.parameters, big.parameters, atol=1e-5)
    counts = [2] * (items // 2) + [1] * (items % 2)
    weighed = sum(loss * count for loss, count in zip(small.losses, counts, strict=False))
    assert weighed / items == pytest.approx(_epoch_mean(big.losses, items), abs=1e-5)


def _epoch_mean(losses: list[float], items: int) -> float:
    steps = -(-items // 6)
    return sum(loss * min(6, items - 6 * step) for step, loss in enumerate(losses[:steps])) / items


def test_a_loss_that_is_no_number_names_the_images_of_its_batch() -> None:
    with pytest.raises(ConfigError, match=r"diverged in epoch 1 \(loss not finite\).*case04.png") as told:
        toy_training(items=6, batch=2, spoilt=4)
    assert str(told.value).count(".png") == 2


@pytest.mark.parametrize("settings", [{}, {"batch_size": 2}], ids=str)
def test_a_loader_whose_items_cant_be_counted_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="needs a ShardSampler"):
        StepLoss(DataLoader(Images(4), **settings))


def test_workers_that_would_live_on_with_the_first_epoch_s_augmentation_are_refused() -> None:
    sampler = ShardSampler(Images(4), num_replicas=1, rank=0, batch_size=2)
    loader = DataLoader(Images(4), batch_size=2, sampler=sampler, num_workers=1, persistent_workers=True)
    with pytest.raises(ConfigError, match="persistent_workers would repeat the first epoch's augmentation"):
        StepLoss(loader)
