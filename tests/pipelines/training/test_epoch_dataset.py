"""What an epoch sees depends on its seed, its number and the item alone."""

from typing import Any

import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, RandGaussianNoised, RandSpatialCropd

from radseg.pipelines.errors import InputError, one_line
from radseg.pipelines.training.epoch_dataset import EpochDataset

ITEMS = [{"image": float(number), "label": 0.0} for number in range(3)]


def _load(item: dict[str, Any]) -> dict[str, torch.Tensor]:
    volume = torch.arange(4 * 5 * 6, dtype=torch.float32).reshape(1, 4, 5, 6)
    return {"image": volume + 1000 * item["image"], "label": torch.ones(1, 4, 5, 6)}


def _augmented(seed: int = 0) -> EpochDataset:
    augmentation = Compose(
        [RandSpatialCropd(["image", "label"], [2, 2, 2], random_size=False), RandGaussianNoised("image", prob=0.5)]
    )
    return EpochDataset(ITEMS, _load, augmentation, seed=seed, progress=False)


def _take(dataset: EpochDataset, epoch: int, order: list[int]) -> dict[int, torch.Tensor]:
    dataset.set_epoch(epoch)
    return {index: torch.as_tensor(dataset[index]["image"]) for index in order}


def test_the_same_epoch_gives_the_same_items_in_any_order() -> None:
    first = _take(_augmented(), 3, [0, 1, 2])
    second = _take(_augmented(), 3, [2, 1, 0])
    assert all(torch.equal(first[index], second[index]) for index in range(3))


def test_another_epoch_or_seed_gives_other_items() -> None:
    first = _take(_augmented(), 1, [0, 1, 2])
    for other in (_take(_augmented(), 2, [0, 1, 2]), _take(_augmented(seed=1), 1, [0, 1, 2])):
        assert not all(torch.equal(first[index], other[index]) for index in range(3))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_augmentation_that_fails_names_the_image_in_one_line(workers: int) -> None:
    def fail(item: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("no such luck")

    dataset = EpochDataset([{"image": 7.0, "label": 0.0}], _load, Compose([fail]), progress=False)
    with pytest.raises(InputError) as told:
        list(DataLoader(dataset, num_workers=workers))
    assert one_line(told.value).endswith("7.0: can't be augmented: ValueError: no such luck")


def test_augmenting_leaves_the_prepared_images_alone() -> None:
    dataset = _augmented()
    _take(dataset, 1, [0, 1, 2])
    assert torch.equal(torch.as_tensor(dataset._prepared[1]["image"]), _load(ITEMS[1])["image"])


def test_volumes_can_be_taken_as_slices() -> None:
    dataset = EpochDataset(ITEMS, _load, slice_axis=-1, progress=False)
    assert len(dataset) == 3 * 6
    assert torch.equal(dataset[7]["image"], _load(ITEMS[1])["image"][..., 1])


def test_repeated_items_are_augmented_each_in_its_own_way() -> None:
    augmentation = RandSpatialCropd(["image", "label"], [2, 2, 2], random_size=False)
    dataset = EpochDataset(ITEMS, _load, augmentation, repeats=4, progress=False)
    assert len(dataset) == 12
    crops = [torch.as_tensor(dataset[index]["image"]) for index in (1, 4, 7, 10)]
    assert not all(torch.equal(crops[0], crop) for crop in crops)
    assert all(1000 <= crop.min() < 2000 for crop in crops)


def test_an_image_that_cant_be_prepared_is_named() -> None:
    def broken(item: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("no such voxel")

    with pytest.raises(InputError, match=r"0\.0: can't be prepared: no such voxel"):
        EpochDataset(ITEMS, broken, progress=False)


def test_images_that_fill_the_memory_are_told_of_with_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    EpochDataset(ITEMS, _load, progress=False)
    assert caplog.text == ""
    EpochDataset(ITEMS, _load, progress=False, memory_share=1e-9)
    assert "--cache_dir" in caplog.text


def test_a_label_that_no_item_has_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    EpochDataset(ITEMS, _load, progress=False, labels=2, must_occur=1)
    assert caplog.text == ""
    EpochDataset(ITEMS, _load, progress=False, labels=2, must_occur=2)
    assert "label 2 occurs in none of the 3 items" in caplog.text
