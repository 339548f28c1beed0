"""Gaussian blur: the same pixels as OpenCV's, on pictures and volumes, in 8 bits and in float."""

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from radseg.transforms.gaussian_blur import GaussianBlur, GaussianBlurd


def grey(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape).astype(np.float32))


def test_a_float_picture_equals_opencv_and_keeps_fractions() -> None:
    image = grey(1, 40, 51, 1)
    blurred = GaussianBlur(5)(image)
    assert blurred.dtype == torch.float32
    assert np.array_equal(blurred[0, ..., 0].numpy(), cv2.GaussianBlur(image[0, ..., 0].numpy(), (5, 5), 0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_an_8_bit_picture_equals_opencv_whatever_type_it_came_in(dtype: torch.dtype) -> None:
    image = grey(1, 40, 51)
    blurred = GaussianBlur(5, eight_bit=True)(image.to(dtype))
    assert blurred.dtype == torch.uint8
    assert np.array_equal(blurred[0].numpy(), cv2.GaussianBlur(image[0].numpy().astype(np.uint8), (5, 5), 0))


def test_sigma_alone_takes_as_many_pixels_as_it_needs() -> None:
    image = grey(1, 40, 51)
    expected = cv2.GaussianBlur(image[0].numpy(), (0, 0), 2.5)
    assert np.array_equal(GaussianBlur(None, sigma=2.5)(image)[0].numpy(), expected)


def test_without_sigma_the_weights_are_the_documented_ones() -> None:
    point = torch.zeros(1, 11, 11)
    point[0, 5, 5] = 256
    weights = torch.tensor([1.0, 4, 6, 4, 1])
    assert torch.equal(GaussianBlur(5)(point).as_tensor()[0, 3:8, 3:8], torch.outer(weights, weights))
    image = grey(1, 40, 51)
    torch.testing.assert_close(GaussianBlur(11)(image), GaussianBlur(11, sigma=0.15 * 11 + 0.35)(image))


def test_a_volume_is_blurred_slice_by_slice() -> None:
    volume = grey(2, 12, 14, 3)
    blurred = GaussianBlur(slice_axis=-1)(volume)
    for k in range(3):
        assert torch.equal(blurred[..., k], GaussianBlur()(volume[..., k]))


def test_an_even_grey_stays_as_it_is_up_to_the_edge() -> None:
    torch.testing.assert_close(GaussianBlur(9)(torch.full((1, 6, 7), 80.0)), torch.full((1, 6, 7), 80.0))


def test_the_dictionary_form_keeps_metadata_and_other_entries() -> None:
    image = MetaTensor(grey(1, 16, 16, 1), meta={"units": "grey"})
    out = GaussianBlurd(["image", "absent"], 5, allow_missing_keys=True)({"image": image, "label": 1})
    assert torch.equal(out["image"], GaussianBlur(5)(image))
    assert out["image"].meta["units"] == "grey"
    assert out["label"] == 1


@pytest.mark.parametrize(
    "wrong", [{"kernel_size": 4}, {"kernel_size": 0}, {"sigma": 0}, {"kernel_size": None}, {"slice_axis": 0}]
)
def test_impossible_arguments_are_refused_at_construction(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        GaussianBlur(**wrong)  # type: ignore[arg-type]
