"""Slices of any size come to the network's size without aliasing, and masks go back to the source grid."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd

from radseg.transforms import ResizeSlices, ResizeSlicesd

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(sizes, st.tuples(st.integers(1, 40), st.integers(1, 40)), st.sampled_from(["linear", "nearest"]))
def test_the_inverse_restores_shape_and_affine_exactly(
    size: tuple[int, ...], wanted: tuple[int, int], mode: str
) -> None:
    image = MetaTensor(torch.rand(2, *size), affine=torch.diag(torch.tensor([-0.7, -1.3, 1.0, 1.0])))
    resize = ResizeSlices(wanted, mode)
    resized = resize(image)
    assert resized.shape == (2, *wanted, size[2])
    back = resize.inverse(resized)
    assert back.shape == image.shape
    assert torch.equal(back.affine, image.affine)
    assert back.applied_operations == []


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 6))
def test_shrinking_by_a_whole_factor_keeps_the_mean_of_a_smooth_image(rows: int, columns: int) -> None:
    ramp = torch.linspace(0, 1, 12 * rows)[:, None] + torch.linspace(0, 2, 12 * columns)[None]
    resized = ResizeSlices((12, 12))(ramp[None])
    assert float(resized.mean()) == pytest.approx(float(ramp.mean()), abs=1e-5)


def test_a_pattern_finer_than_the_new_pixels_becomes_its_mean_not_an_alias() -> None:
    stripes = torch.zeros(1, 700, 700)
    stripes[:, :, ::2] = 1
    resized = ResizeSlices((100, 100))(stripes)
    assert (resized[0, 5:-5, 5:-5] - 0.5).abs().max() < 0.02


def test_the_borders_stay_where_they_are() -> None:
    image = MetaTensor(torch.rand(1, 30, 20, 1), affine=torch.diag(torch.tensor([0.5, 0.5, 1.0, 1.0])))
    resized = ResizeSlices((10, 40))(image)
    assert resized.affine.diagonal().tolist() == pytest.approx([1.5, 0.25, 1.0, 1.0])
    assert resized.affine[:2, 3].tolist() == pytest.approx([0.5, -0.125])


def test_a_label_keeps_its_values_and_dtype() -> None:
    label = torch.randint(0, 3, (1, 31, 17)).to(torch.uint8)
    resized = ResizeSlices((50, 9), "nearest")(label)
    assert resized.dtype == torch.uint8
    assert set(resized.unique().tolist()) <= {0, 1, 2}


def test_invertd_brings_a_prediction_back_past_a_turn_of_the_axes() -> None:
    affine = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    truth = torch.zeros(1, 90, 60, 1)
    truth[:, 20:50, 10:40] = 1
    preparation = Compose([Orientationd("image", "PLS", labels=None), ResizeSlicesd("image", (32, 32))])
    data = preparation({"image": MetaTensor(truth, affine=affine)})
    data["pred"] = MetaTensor(
        data["image"].as_tensor(), meta=data["image"].meta, applied_operations=data["image"].applied_operations
    )
    back = Invertd("pred", preparation, "image", nearest_interp=False)(data)["pred"]
    assert back.shape == truth.shape
    assert ((back > 0.5) == (truth > 0.5)).float().mean() > 0.98


@pytest.mark.parametrize("size", [(0, 5), (5,), (5, 5, 5), (2.5, 3)])
def test_sizes_that_mean_nothing_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="size must be two positive integers"):
        ResizeSlices(size)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of linear, nearest"):
        ResizeSlices((5, 5), "cubic")
