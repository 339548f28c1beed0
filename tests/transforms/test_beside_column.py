"""What lies left or right of a spine goes, however large; what its course could reach stays."""

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from radseg.transforms import DropBesideColumn, DropBesideColumnd

RAS = torch.diag(torch.tensor([3.0, 3.0, 3.0, 1.0], dtype=torch.float64))


def spine_and_hips(lean: float = 0.0) -> torch.Tensor:
    """A column of 18 × 18 mm from 120 to 300 mm, and below it a bone of 45 × 15 mm on each side, at 3 mm."""
    mask = torch.zeros(1, 80, 20, 100, dtype=torch.uint8)
    for k in range(40, 100):
        x = 37 + round(lean * (k - 70))
        mask[0, x : x + 6, 6:12, k] = 1 + k % 2
    mask[0, 4:19, 4:9, 5:40] = mask[0, 62:77, 4:9, 5:40] = 1
    return mask


def column_of(mask: torch.Tensor) -> torch.Tensor:
    alone = mask.clone()
    alone[0, ..., :40] = 0
    return alone


def test_bones_beside_the_column_go_however_large_they_are() -> None:
    mask = spine_and_hips()
    assert mask[0, ..., :40].count_nonzero() > column_of(mask).count_nonzero()
    joined = mask.clone()
    joined[0, 37:43, 6:12, 0:40] = 1  # the column goes on to the bottom, and is the largest
    cleaned = DropBesideColumn(16.0, 40.0)(MetaTensor(joined, affine=RAS))
    assert isinstance(cleaned, MetaTensor)
    assert cleaned.dtype == torch.uint8
    assert cleaned[0, :30].count_nonzero() == cleaned[0, 55:].count_nonzero() == 0
    assert torch.equal(cleaned[0, 30:55], joined[0, 30:55])


def test_bones_beyond_the_columns_end_go_too() -> None:
    mask = spine_and_hips()
    mask[0, 4:19, :, 20:] = mask[0, 62:77, :, 20:] = 0  # 15 layers each, from 60 mm below the column
    cleaned = DropBesideColumn(16.0, 40.0)(MetaTensor(mask, affine=RAS))
    assert torch.equal(torch.as_tensor(cleaned), column_of(mask))


@pytest.mark.parametrize("lean", [-0.4, 0.0, 0.4])
def test_a_vertebra_beyond_a_gap_stays_where_the_spine_may_go_on(lean: float) -> None:
    mask = column_of(spine_and_hips(lean))
    x = 37 + round(lean * (25 - 70))
    mask[0, x : x + 6, 6:12, 22:30] = 2  # 30 mm below the rest
    assert torch.equal(torch.as_tensor(DropBesideColumn(16.0, 40.0)(MetaTensor(mask, affine=RAS))), mask)


@settings(max_examples=24, deadline=None)
@given(st.sampled_from(["RAS", "LPS", "PIR", "SLA", "IAR"]), st.booleans())
def test_left_and_right_are_the_patients_however_the_voxels_lie(orientation: str, label_of_hips: bool) -> None:
    mask = spine_and_hips()
    mask[0, 4:19, :, 20:] = mask[0, 62:77, :, 20:] = 0
    if label_of_hips:
        mask[0, ..., :40] *= 2
    image = nib.Nifti1Image(mask[0].numpy(), RAS.numpy())
    codes = nib.orientations.axcodes2ornt(tuple(orientation))
    turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), codes))
    given_mask = MetaTensor(torch.from_numpy(np.array(turned.dataobj))[None], affine=torch.from_numpy(turned.affine))
    cleaned = DropBesideColumn(16.0, 40.0)(given_mask)
    assert cleaned.count_nonzero() == column_of(mask).count_nonzero()


def test_none_is_asked_for_or_nothing_is_there() -> None:
    mask = MetaTensor(spine_and_hips(), affine=RAS)
    assert torch.equal(DropBesideColumn(16.0, 0.0)(mask), mask)
    empty = MetaTensor(torch.zeros(1, 4, 4, 4, dtype=torch.uint8), affine=RAS)
    assert torch.equal(DropBesideColumnd("pred", 16.0, 40.0)({"pred": empty})["pred"], empty)
    plane = MetaTensor(torch.ones(1, 4, 4, dtype=torch.uint8), affine=RAS)
    assert torch.equal(DropBesideColumn(16.0, 40.0)(plane), plane)


@pytest.mark.parametrize(
    ("within_mm", "most_mm", "said"),
    [
        (0.0, 40.0, "within_mm must be positive"),
        (16.0, -1.0, "most_mm must be 0 or more"),
        (16.0, np.nan, "most_mm"),
    ],
)
def test_wrong_numbers_are_refused(within_mm: float, most_mm: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DropBesideColumn(within_mm, most_mm)


def test_what_is_no_mask_with_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="integer mask"):
        DropBesideColumn(5.0, 5.0)(MetaTensor(torch.full((1, 3, 3, 3), 0.5), affine=RAS))
    with pytest.raises(TypeError, match="MetaTensor"):
        DropBesideColumn(5.0, 5.0)(torch.ones(1, 3, 3, 3))
