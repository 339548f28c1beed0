"""Thresholds: the global mask and what stands out of its surroundings, never empty background."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from radseg.transforms.adaptive_threshold import ThresholdProbability, ThresholdProbabilityd


def probability(height: int, width: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((1, height, width, 1)).astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 999),
    threshold=st.floats(0.05, 1),
    block=st.floats(0.01, 1),
    offset=st.floats(0, 0.5),
    floor=st.floats(0.05, 1),
)
def test_the_mask_contains_the_global_one_and_nothing_below_the_floor(
    height: int, width: int, seed: int, threshold: float, block: float, offset: float, floor: float
) -> None:
    p = probability(height, width, seed)
    mask = ThresholdProbability(threshold, block, offset, floor)(p)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    foreground = mask.bool().as_tensor()
    assert foreground[p >= np.float32(threshold)].all()
    assert not foreground[p < np.float32(min(threshold, floor))].any()
    assert torch.equal(mask, ThresholdProbability(threshold, block, offset, floor)(p.clone()))


@pytest.mark.parametrize("shape", [(1, 32, 40), (2, 32, 40, 1), (1, 32, 40, 3)])
def test_no_probability_gives_no_mask(shape: tuple[int, ...]) -> None:
    mask = ThresholdProbability()(torch.zeros(shape))
    assert mask.shape == shape
    assert not mask.any()


def test_an_unsure_region_that_stands_out_is_taken_by_the_local_threshold_alone() -> None:
    p = torch.full((1, 60, 60), 0.02)
    p[0, 20:30, 20:30] = 0.4
    local = ThresholdProbability(local_block=0.5)(p)
    assert torch.equal(local.as_tensor(), (p > 0.3).float())
    assert not ThresholdProbability(local_block=None)(p).any()


def test_a_ripple_on_empty_background_stays_background() -> None:
    p = torch.zeros(1, 60, 60)
    p[0, 20:30, 20:30] = 0.2
    assert not ThresholdProbability(local_block=0.5)(p).any()
    assert ThresholdProbability(local_block=0.5, local_floor=0.1)(p).any()


def test_an_even_probability_below_the_threshold_stands_out_of_nothing() -> None:
    assert not ThresholdProbability()(torch.full((1, 50, 50), 0.45)).any()


def test_switched_off_it_is_the_global_threshold() -> None:
    p = probability(30, 31, 0)
    mask = ThresholdProbability(0.6, local_block=None)(p)
    assert torch.equal(mask.as_tensor(), (p >= 0.6).float())


def test_the_block_grows_with_the_image() -> None:
    p = torch.zeros(1, 40, 40)
    p[0, 10:20, 10:20] = 0.4
    p[0, 14:16, 14:16] = 0.45
    small = ThresholdProbability(local_block=0.3, local_offset=0.02)(p)
    large = ThresholdProbability(local_block=0.3, local_offset=0.02)(
        p.repeat_interleave(5, dim=1).repeat_interleave(5, dim=2)
    )
    differing = (large[:, 2::5, 2::5] != small).float().mean()
    assert small.any()
    assert differing < 0.02  # the block is rounded to an odd number of pixels


def test_undefined_probability_is_background() -> None:
    p = torch.full((1, 8, 8), float("nan"))
    assert not ThresholdProbability()(p).any()


def test_metadata_are_kept_and_the_probabilities_stay() -> None:
    p = MetaTensor(probability(16, 18, 0), affine=torch.diag(torch.tensor([2.0, 2, 1, 1])), meta={"name": "a"})
    before = p.clone()
    out = ThresholdProbabilityd(["pred", "absent"], allow_missing_keys=True)({"pred": p})["pred"]
    assert out.dtype == torch.float32
    assert torch.equal(out.affine, p.affine)
    assert out.meta["name"] == "a"
    assert torch.equal(p, before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"threshold": 1.1},
        {"local_block": 0},
        {"local_block": 11},
        {"local_offset": -0.1},
        {"local_floor": 0},
        {"slice_axis": 0},
    ],
)
def test_impossible_arguments_are_refused_at_construction(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ThresholdProbability(**wrong)  # type: ignore[arg-type]
