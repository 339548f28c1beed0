"""What lies far from a mask's main part and is small beside it goes; the rest stays as it was."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from radseg.transforms import DropStray, DropStrayd


def mask_of(mask: torch.Tensor, spacing: tuple[float, ...] = (1, 1, 1)) -> MetaTensor:
    return MetaTensor(mask, affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))


def column_and_stray() -> torch.Tensor:
    """Three vertebrae of 64, 27 and 8 voxels, the middle one fractured, 4 voxels apart; 8 voxels 20 away from them."""
    mask = torch.zeros(1, 40, 12, 40, dtype=torch.uint8)
    mask[0, 4:8, 4:8, 2:6] = 1
    mask[0, 4:7, 4:7, 10:13] = 2
    mask[0, 4:6, 4:6, 17:19] = 1
    mask[0, 28:30, 4:6, 10:12] = 1
    return mask


def test_a_column_stays_whole_and_a_stray_piece_goes() -> None:
    mask = mask_of(column_and_stray())
    cleaned = DropStray(within_mm=10.0, min_share=0.3)(mask)
    assert cleaned[0, 28:30].sum() == 0
    assert torch.equal(cleaned[0, :20], mask[0, :20])
    assert isinstance(cleaned, MetaTensor)
    assert cleaned.dtype == torch.uint8


def test_a_group_is_weighed_against_the_largest_group() -> None:
    mask = mask_of(column_and_stray())  # groups of 99 and 8 voxels
    assert torch.equal(DropStray(10.0, 8 / 99)(mask), mask)
    assert DropStray(10.0, 8.1 / 99)(mask).count_nonzero() == 99
    assert DropStray(1.0, 0.3)(mask).count_nonzero() == 64 + 27


def test_distances_are_millimetres() -> None:
    mask = torch.zeros(1, 30, 1, 1, dtype=torch.uint8)
    mask[0, :10] = mask[0, 14] = 1  # a gap of four voxels
    for spacing, voxels in ((0.5, 11), (2.0, 11), (6.0, 10)):
        assert DropStray(16.1, 0.5)(mask_of(mask, (spacing, 1, 1))).sum() == voxels


def test_a_slice_and_an_empty_mask_are_masks_too() -> None:
    plane = torch.zeros(1, 20, 20, dtype=torch.uint8)
    plane[0, 0:4, 0:4] = plane[0, 18, 18] = 3
    affine = torch.eye(3, dtype=torch.float64)
    assert DropStray(4.0, 0.5)(MetaTensor(plane, affine=affine)).count_nonzero() == 16
    empty = mask_of(torch.zeros(1, 5, 5, 5))
    assert torch.equal(DropStrayd("pred", 4.0, 0.5)({"pred": empty})["pred"], empty)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([torch.uint8, torch.int16, torch.float32]))
def test_groups_are_those_of_blocks_that_touch(seed: int, within: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 3, (14, 9, 11)) * (rng.random((14, 9, 11)) < 0.03)
    kept = DropStray(within, 1.0)(mask_of(torch.from_numpy(values)[None].to(dtype)))
    assert kept.dtype == dtype
    left = kept[0].numpy()
    assert np.array_equal(left[left > 0], values[left > 0])
    here, gone = np.argwhere(left), np.argwhere((values > 0) & (left == 0))
    if len(gone):
        assert len(here) >= 1
        gaps = np.abs(here[:, None] - gone[None]).max(2) - 1  # along the axis on which they are farthest apart
        assert gaps.min() >= within / 2


@pytest.mark.parametrize(
    ("within_mm", "min_share", "said"),
    [(0.0, 0.5, "within_mm must be positive"), (float("nan"), 0.5, "within_mm"), (5.0, 1.5, "min_share must be from")],
)
def test_wrong_numbers_are_refused(within_mm: float, min_share: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DropStray(within_mm, min_share)


def test_what_is_no_mask_with_a_spacing_is_refused() -> None:
    with pytest.raises(ValueError, match="integer mask"):
        DropStray(5.0, 0.5)(mask_of(torch.full((1, 3, 3, 3), 0.5)))
    with pytest.raises(TypeError, match="MetaTensor"):
        DropStray(5.0, 0.5)(torch.ones(1, 3, 3, 3))
