"""Opening and closing of masks, sized by the image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from radseg.transforms.morphological_cleanup import MorphologicalCleanup, MorphologicalCleanupd


def disc(size: int, radius: float, label: int = 1) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = (size - 1) / 2
    return (((y - centre) ** 2 + (x - centre) ** 2 <= radius**2) * label).to(torch.uint8)[None]


def test_opening_removes_specks_and_spikes_and_keeps_the_body() -> None:
    body = disc(100, 30)
    rough = body.clone()
    rough[0, 3, 3:5] = 1
    rough[0, 50, 79:95] = 1
    opened = MorphologicalCleanup(opening=0.05, closing=0)(rough).as_tensor()
    assert not opened[0, 3].any()
    assert not opened[0, 50, 84:].any()
    assert (opened != body).float().mean() < 0.005


def test_closing_fills_cracks_and_keeps_the_body() -> None:
    body = disc(100, 30)
    cracked = body.clone()
    cracked[0, 50, 30:70] = 0
    closed = MorphologicalCleanup(opening=0, closing=0.05)(cracked).as_tensor()
    assert closed[0, 50, 30:70].all()
    assert (closed != body).float().mean() < 0.005


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), height=st.integers(1, 40), width=st.integers(1, 40), share=st.floats(0, 0.4))
def test_opening_only_takes_away_and_closing_only_adds(seed: int, height: int, width: int, share: float) -> None:
    mask = (torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed)) > 0.4).float()
    opening, closing = MorphologicalCleanup(share, 0), MorphologicalCleanup(0, share)
    assert (opening(mask) <= mask).all()
    assert (closing(mask) >= mask).all()
    assert torch.equal(opening(opening(mask)), opening(mask))
    assert torch.equal(closing(closing(mask)), closing(mask))


def test_a_mask_up_to_the_edge_stays_there() -> None:
    mask = torch.zeros(1, 40, 40)
    mask[:, :, :20] = 1
    assert torch.equal(MorphologicalCleanup(0.1, 0.2)(mask).as_tensor(), mask)


def test_it_means_the_same_on_a_small_and_a_large_image() -> None:
    small = disc(64, 20)
    small[0, 30:34, 10:40] = 0
    small[0, 4:7, 4:7] = 1
    large = small.repeat_interleave(6, dim=1).repeat_interleave(6, dim=2)
    cleanup = MorphologicalCleanup(0.1, 0.15)
    differing = (cleanup(large)[:, 3::6, 3::6] != cleanup(small)).float().mean()
    assert not torch.equal(cleanup(small).as_tensor(), small)
    assert differing < 0.02


def test_a_disc_below_one_pixel_changes_nothing() -> None:
    mask = (torch.rand(1, 50, 50, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert torch.equal(MorphologicalCleanup(0.03, 0.03)(mask).as_tensor(), mask)


def test_labels_do_not_grow_over_each_other() -> None:
    mask = torch.zeros(1, 60, 60, dtype=torch.uint8)
    mask[0, 10:50, 10:29] = 1
    mask[0, 10:50, 31:50] = 2
    cleaned = MorphologicalCleanup(0, 0.2)(mask).as_tensor()
    assert (cleaned[mask == 1] == 1).all()
    assert (cleaned[mask == 2] == 2).all()
    assert cleaned.dtype == torch.uint8


def test_two_lungs_stay_two() -> None:
    mask = torch.zeros(1, 100, 100, 1)
    mask[0, 10:45, 20:80] = 1
    mask[0, 55:90, 20:80] = 1
    cleaned = MorphologicalCleanup()(mask)
    assert not cleaned[0, 47:53].any()
    assert cleaned.shape == mask.shape


def test_an_empty_and_a_full_mask_stay() -> None:
    for value in (0.0, 1.0):
        mask = torch.full((1, 30, 30), value)
        assert torch.equal(MorphologicalCleanup(0.3, 0.3)(mask).as_tensor(), mask)


def test_metadata_and_type_are_kept_and_the_input_stays() -> None:
    mask = MetaTensor(disc(50, 10)[..., None].float(), affine=torch.diag(torch.tensor([2.0, 2, 1, 1])))
    mask[0, 2, 2] = 1
    before = mask.clone()
    out = MorphologicalCleanupd(["pred", "absent"], 0.1, allow_missing_keys=True)({"pred": mask})["pred"]
    assert not out[0, 2, 2].any()
    assert out.dtype == mask.dtype
    assert torch.equal(out.affine, mask.affine)
    assert torch.equal(mask, before)


def test_probabilities_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="threshold it first"):
        MorphologicalCleanup()(torch.full((1, 8, 8), 0.5))


@pytest.mark.parametrize("wrong", [{"opening": -0.1}, {"closing": 1}, {"slice_axis": 0}])
def test_impossible_arguments_are_refused_at_construction(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        MorphologicalCleanup(**wrong)  # type: ignore[arg-type]
