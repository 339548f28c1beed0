"""Label cleaning: pieces, holes and volumes, by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from radseg.transforms import CleanLabel, CleanLabeld


def mask_of(mask: torch.Tensor, spacing: tuple[float, ...] = (1, 1, 1)) -> MetaTensor:
    return MetaTensor(mask, affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))


def pieces_of_2_and_12_voxels(label: int = 1) -> torch.Tensor:
    mask = torch.zeros(1, 10, 10, 6, dtype=torch.uint8)
    mask[0, 0, 0, 0:2] = label
    mask[0, 5:7, 5:8, 2:4] = label
    return mask


def test_pieces_below_the_minimum_volume_go() -> None:
    mask = mask_of(pieces_of_2_and_12_voxels(), (0.5, 0.5, 4.0))  # 1 mm³ a voxel
    assert CleanLabel(min_volume_mm3=2.0)(mask).sum() == 14
    assert CleanLabel(min_volume_mm3=2.1)(mask).sum() == 12
    assert CleanLabel(min_volume_mm3=12.1)(mask).sum() == 0


def test_volume_is_measured_in_mm_by_the_affine() -> None:
    affine = torch.tensor([[0, -2.0, 0, 5], [2.0, 0, 0, 6], [0, 0, -3.0, 7], [0, 0, 0, 1]])  # 12 mm³ a voxel
    mask = MetaTensor(pieces_of_2_and_12_voxels(), affine=affine)
    assert CleanLabel(min_volume_mm3=24.0)(mask).sum() == 14
    assert CleanLabel(min_volume_mm3=25.0)(mask).sum() == 12


def test_a_slice_is_measured_by_area_times_thickness() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[0, 0, 0:3] = 1
    assert CleanLabel(min_volume_mm3=15.0)(mask_of(mask, (1, 1, 5))).sum() == 3
    assert CleanLabel(min_volume_mm3=15.1)(mask_of(mask, (1, 1, 5))).sum() == 0
    in_plane = MetaTensor(mask, affine=torch.diag(torch.tensor([2.0, 1.0, 1.0])))
    assert in_plane.affine.shape in ((3, 3), (4, 4))
    assert CleanLabel(min_volume_mm3=6.0)(in_plane).sum() == 3


def test_pieces_below_a_share_of_their_labels_largest_go() -> None:
    mask = pieces_of_2_and_12_voxels(1)
    mask[0, 9, 0:5, 5] = 2
    assert torch.equal(CleanLabel(min_share=2 / 12)(mask).as_tensor(), mask)
    cleaned = CleanLabel(min_share=0.17)(mask)
    assert (cleaned == 1).sum() == 12
    assert (cleaned == 2).sum() == 5
    with pytest.raises(ValueError, match="min_share must be from 0 to 1"):
        CleanLabel(min_share=1.1)


def test_the_largest_pieces_of_each_label_stay() -> None:
    mask = pieces_of_2_and_12_voxels(1)
    mask[0, 9, 0:5, 5] = 2
    mask[0, 0, 9, 0] = 2
    cleaned = CleanLabel(keep_largest=1)(mask)
    assert (cleaned == 1).sum() == 12
    assert (cleaned == 2).sum() == 5
    assert torch.equal(CleanLabel(keep_largest=2)(mask).as_tensor(), mask)


def test_of_equal_pieces_the_first_stays() -> None:
    mask = torch.zeros(1, 5, 5, dtype=torch.uint8)
    mask[0, 0, 0] = mask[0, 4, 4] = 1
    cleaned = CleanLabel(keep_largest=1)(mask)
    assert cleaned[0, 0, 0] == 1
    assert cleaned[0, 4, 4] == 0


def test_voxels_that_touch_at_a_corner_are_one_piece() -> None:
    mask = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    mask[0, 0, 0, 0] = mask[0, 1, 1, 1] = 1
    assert CleanLabel(min_volume_mm3=2.0)(mask_of(mask)).sum() == 2


def test_a_closed_hole_is_filled_and_a_tunnel_is_not() -> None:
    mask = torch.zeros(1, 7, 7, 7, dtype=torch.int16)
    mask[0, 1:6, 1:6, 1:6] = 3
    mask[0, 3, 3, 3] = 0
    assert (CleanLabel(fill_holes=True)(mask) == 3).sum() == 125
    mask[0, 3, 3, 3:] = 0  # the hole opens to the outside
    assert torch.equal(CleanLabel(fill_holes=True)(mask).as_tensor(), mask)


def test_a_hole_in_a_radiograph_or_single_slice_is_filled() -> None:
    mask = torch.zeros(1, 7, 8, 1, dtype=torch.uint8)
    mask[0, 1:6, 1:6] = 1
    mask[0, 3, 3] = 0
    filled = CleanLabel(fill_holes=True)(mask)
    assert filled.shape == mask.shape
    assert filled.sum() == 25


def test_another_label_inside_a_hole_stays() -> None:
    mask = torch.zeros(1, 7, 7, dtype=torch.uint8)
    mask[0, 1:6, 1:6] = 1
    mask[0, 2:5, 2:5] = 0
    mask[0, 3, 3] = 2
    cleaned = CleanLabel(fill_holes=True)(mask)
    assert (cleaned == 2).sum() == 1
    assert (cleaned == 1).sum() == 24


def test_what_is_dropped_inside_another_label_becomes_a_hole_that_is_filled() -> None:
    mask = torch.zeros(1, 7, 7, dtype=torch.uint8)
    mask[0, 1:6, 1:6] = 1
    mask[0, 3, 3] = 2
    cleaned = CleanLabel(min_volume_mm3=2.0, fill_holes=True)(mask_of(mask))
    assert (cleaned == 1).sum() == 25


def test_only_the_named_labels_are_cleaned() -> None:
    mask = pieces_of_2_and_12_voxels(1) + torch.flip(pieces_of_2_and_12_voxels(2), (1,))
    cleaned = CleanLabel(keep_largest=1, labels=[2])(mask)
    assert torch.equal((cleaned == 1).as_tensor(), mask == 1)
    assert (cleaned == 2).sum() == 12


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.6), st.booleans())
def test_nothing_is_invented(seed: int, density: float, fill: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(1, 4, (1, 7, 8, 9), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) > density] = 0
    cleaned = CleanLabel(min_volume_mm3=3, keep_largest=2, fill_holes=fill)(mask_of(mask)).as_tensor()
    changed = cleaned != mask
    if not fill:
        assert (cleaned[changed] == 0).all()
    for label in cleaned[changed].unique().tolist():
        assert label == 0 or (mask == label).any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.bool])
def test_an_empty_mask_stays_empty_and_a_mask_keeps_its_dtype(dtype: torch.dtype) -> None:
    clean = CleanLabel(min_volume_mm3=3, keep_largest=1, fill_holes=True)
    empty = clean(mask_of(torch.zeros(1, 5, 5, 5, dtype=dtype)))
    assert not empty.any()
    assert empty.dtype == dtype
    assert clean(mask_of(pieces_of_2_and_12_voxels().to(dtype))).sum() == 12


def test_channels_are_cleaned_apart_metadata_kept_and_the_input_not_changed() -> None:
    mask = mask_of(torch.cat([pieces_of_2_and_12_voxels(), pieces_of_2_and_12_voxels().flip(1)]))
    before = mask.clone()
    cleaned = CleanLabeld(["mask", "absent"], keep_largest=1, allow_missing_keys=True)({"mask": mask})["mask"]
    assert cleaned.sum(dim=(1, 2, 3)).tolist() == [12, 12]
    assert torch.equal(cleaned.affine, mask.affine)
    assert torch.equal(mask, before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_volume_in_fortran_order_is_cleaned_like_its_copy(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    stored = (torch.rand(1, 12, 11, 10, generator=generator) < 0.1).to(dtype) * 2
    turned = stored.permute(0, 3, 2, 1)
    clean = CleanLabel(min_volume_mm3=3, keep_largest=2, fill_holes=True)
    assert torch.equal(clean(mask_of(turned)).as_tensor(), clean(mask_of(turned.contiguous())).as_tensor())


def test_a_mask_with_nothing_to_clean_is_not_copied() -> None:
    mask = mask_of(pieces_of_2_and_12_voxels())
    assert CleanLabel()(mask).data_ptr() == mask.data_ptr()
    assert CleanLabel(min_volume_mm3=1.0)(mask).data_ptr() == mask.data_ptr()


def test_missing_keys_are_refused_unless_allowed() -> None:
    with pytest.raises(KeyError):
        CleanLabeld(["mask", "absent"])({"mask": pieces_of_2_and_12_voxels()})


@pytest.mark.parametrize("wrong", [{"min_volume_mm3": -1}, {"keep_largest": 0}, {"labels": [0, 1]}])
def test_impossible_arguments_are_refused_at_construction(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        CleanLabel(**wrong)  # type: ignore[arg-type]


def test_a_mask_that_cannot_be_measured_or_is_no_mask_is_refused() -> None:
    with pytest.raises(TypeError, match="voxel volume"):
        CleanLabel(min_volume_mm3=1)(pieces_of_2_and_12_voxels())
    with pytest.raises(ValueError, match="integer mask"):
        CleanLabel()(torch.full((1, 3, 3), 0.5))
    with pytest.raises(ValueError, match="integer mask"):
        CleanLabel()(torch.full((1, 3, 3), float("nan")))
