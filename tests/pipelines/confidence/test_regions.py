"""Each region of a mask says how unsure it is, and members' disagreement is shared out without a rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.confidence import doubtful_regions
from radseg.pipelines.confidence.regions import MOST_REGIONS
from radseg.pipelines.engine import Effort, Prediction
from radseg.pipelines.io import Volume

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 2.0, 0, 20], [0, 0, 5.0, 30], [0, 0, 0, 1]])
EFFORT = Effort("torch", "exact", 2, 1, 1)


def volume(shape: tuple[int, ...], **changes: bool) -> Volume:
    return Volume(np.zeros(shape, np.float32), AFFINE, "HU", **changes)


def two_regions() -> Prediction:
    mask = np.zeros((20, 20, 6), np.uint8, order="F")
    mask[2:6, 2:6, 1:3] = 1  # 32 voxels
    mask[12:14, 12:14, 3] = 1  # 4 voxels
    uncertainty = np.zeros_like(mask)
    uncertainty[2:6, 2:6, 1:3] = 51
    uncertainty[12:14, 12:14, 3] = 204
    differing = np.zeros_like(mask)
    differing[13, 12:14, 3] = 1  # two in the small region
    differing[14, 12:14, 3] = 1  # two that touch it
    differing[18, 18, 5] = 1  # one by itself
    return Prediction(mask, {}, EFFORT, uncertainty=uncertainty, differing=differing)


def test_the_small_region_is_the_doubtful_one() -> None:
    found = doubtful_regions(two_regions(), volume((20, 20, 6)), ["lesion"])
    large, small = found["regions"]
    assert (large["label"], large["voxels"], large["volume_ml"]) == ("lesion", 32, 0.64)
    assert (large["mean_entropy"], large["doubtful"]) == (0.2, False)
    assert large["disagreement"] == {"voxels": 0, "volume_ml": 0.0}
    assert (small["mean_entropy"], small["doubtful"]) == (0.8, True)
    assert small["disagreement"] == {"voxels": 4, "volume_ml": 0.08}
    assert small["centre_ras_mm"] == [10 - 2 * 12.5, 20 + 2 * 12.5, 30 + 5 * 3]
    assert found["disagreement"]["voxels"] == 5
    assert found["disagreement_elsewhere"] == {"voxels": 1, "volume_ml": 0.02}
    assert found["regions_left_out"] == 0


def test_a_single_pass_says_entropy_and_nothing_of_members() -> None:
    several = two_regions()
    alone = Prediction(several.mask, {}, EFFORT, entropy=several.uncertainty)
    found = doubtful_regions(alone, volume((20, 20, 6)), ["lesion"])
    assert [row["mean_entropy"] for row in found["regions"]] == [0.2, 0.8]
    assert "disagreement" not in found
    assert not any("disagreement" in row for row in found["regions"])


def test_a_kept_probability_is_as_good_as_an_entropy() -> None:
    mask = np.ones((4, 4, 1), np.uint8)
    probability = np.full((1, 4, 4, 1), round(0.89 * 255), np.uint8)
    picture = volume((4, 4, 1), is_picture=True, spacing_known=False)
    (row,) = doubtful_regions(Prediction(mask, {}, EFFORT, probability=probability), picture, ["lung"])["regions"]
    assert row["mean_entropy"] == pytest.approx(0.5, abs=0.01)
    assert row["centre_pixel"] == [1.5, 1.5]
    assert row["mean_probability"] == pytest.approx(0.89, abs=0.002)
    assert "volume_ml" not in row
    assert "area_mm2" not in row


def test_the_probability_told_is_that_of_the_region_s_own_label() -> None:
    mask = np.zeros((6, 6, 2), np.uint8)
    mask[:2], mask[4:] = 1, 2
    probability = np.stack([np.full(mask.shape, 204, np.uint8), np.full(mask.shape, 153, np.uint8)])
    prediction = Prediction(mask, {}, EFFORT, probability=probability, uncertainty=mask, differing=mask * 0)
    found = doubtful_regions(prediction, volume(mask.shape), ["a", "b"])["regions"]
    assert [(row["label"], row["mean_probability"]) for row in found] == [("a", 0.8), ("b", 0.6)]


def test_without_anything_kept_nothing_is_said() -> None:
    assert doubtful_regions(Prediction(np.ones((2, 2, 2), np.uint8), {}, EFFORT), volume((2, 2, 2)), ["a"]) == {}


def test_an_empty_mask_has_no_regions_and_no_nan() -> None:
    empty = np.zeros((5, 5, 5), np.uint8)
    found = doubtful_regions(
        Prediction(empty, {}, EFFORT, uncertainty=empty + 9, differing=empty), volume((5, 5, 5)), ["a", "b"]
    )
    assert found["regions"] == []
    assert found["disagreement"] == {"voxels": 0, "volume_ml": 0.0}


def test_only_the_largest_are_told_of_and_the_others_counted() -> None:
    mask = np.zeros((120, 3, 3), np.uint8)
    mask[::4, 1, 1] = 1
    mask[40, :, 1] = 1
    found = doubtful_regions(Prediction(mask, {}, EFFORT, entropy=mask), volume((120, 3, 3)), ["a"])
    assert len(found["regions"]) == MOST_REGIONS
    assert found["regions_left_out"] == 30 - MOST_REGIONS
    assert found["regions"][0]["voxels"] == 3


def test_labels_that_touch_are_regions_of_their_own() -> None:
    mask = np.ones((4, 4, 4), np.uint8)
    mask[2:] = 2
    found = doubtful_regions(Prediction(mask, {}, EFFORT, entropy=mask), volume((4, 4, 4)), ["a", "b"])
    assert [(row["label"], row["voxels"]) for row in found["regions"]] == [("a", 32), ("b", 32)]


def test_a_bundle_that_asks_for_disagreement_gets_it_by_name() -> None:
    mask = np.ones((2, 2, 2), np.uint8)
    prediction = Prediction(mask, {}, EFFORT, uncertainty=mask * 51, differing=mask * 0, measure="disagreement")
    (row,) = doubtful_regions(prediction, volume((2, 2, 2)), ["a"])["regions"]
    assert row["mean_disagreement"] == 0.2
    assert "mean_entropy" not in row


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_every_differing_voxel_is_somewhere(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = (random.random((6, 7, 5)) < 0.15).astype(np.uint8) * random.integers(1, 3, (6, 7, 5), np.uint8)
    differing = (random.random(mask.shape) < 0.2).astype(np.uint8)
    prediction = Prediction(mask, {}, EFFORT, uncertainty=differing, differing=differing)
    found = doubtful_regions(prediction, volume(mask.shape, spacing_known=False), ["a", "b"])
    assert found["disagreement"]["voxels"] == differing.sum()
    assert found["disagreement_elsewhere"]["voxels"] <= (differing[mask == 0]).sum()
    assert sum(row["voxels"] for row in found["regions"]) <= (mask > 0).sum()
