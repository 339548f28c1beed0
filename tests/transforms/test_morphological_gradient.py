"""Morphological gradient: dilation minus erosion as OpenCV computes it, n times."""

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from radseg.transforms.clahe import CLAHEd
from radseg.transforms.gaussian_blur import GaussianBlurd
from radseg.transforms.morphological_gradient import MorphologicalGradient, MorphologicalGradientd


def grey(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape).astype(np.float32))


def test_a_step_becomes_its_edge() -> None:
    image = torch.zeros(1, 5, 8)
    image[..., 4:] = 100
    expected = torch.zeros(1, 5, 8)
    expected[..., 3:5] = 100
    assert torch.equal(MorphologicalGradient()(image).as_tensor(), expected)


def test_twice_gives_the_edges_of_the_edges() -> None:
    image = grey(1, 30, 41, 1)
    once = MorphologicalGradient(5)
    assert torch.equal(MorphologicalGradient(5, times=2)(image), once(once(image)))


def test_zero_times_leaves_the_image_as_it_is_in_memory_of_its_own() -> None:
    image = grey(1, 6, 7, 1)
    same = MorphologicalGradient(times=0)(image)
    assert torch.equal(same, image)
    same.zero_()
    assert image.any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_it_is_dilation_minus_erosion(dtype: torch.dtype) -> None:
    image = grey(1, 30, 41).to(dtype)
    square = np.ones((3, 3), np.uint8)
    expected = cv2.dilate(image[0].numpy(), square) - cv2.erode(image[0].numpy(), square)
    edges = MorphologicalGradient()(image)
    assert edges.dtype == dtype
    assert np.array_equal(edges[0].numpy(), expected)


def test_a_volume_is_taken_slice_by_slice() -> None:
    volume = grey(2, 12, 14, 3)
    edges = MorphologicalGradient(times=2)(volume)
    for k in range(3):
        assert torch.equal(edges[..., k], MorphologicalGradient(times=2)(volume[..., k]))


def test_the_papers_chain_gives_the_pixels_of_the_bare_opencv_calls() -> None:
    """Blur, gradient twice, CLAHE, from a picture loaded as float32 (column, row, 1)."""
    image = MetaTensor(grey(1, 60, 71, 1), meta={"units": "grey"})
    chain = Compose(
        [GaussianBlurd("image", 5, eight_bit=True), MorphologicalGradientd("image", 3, 2), CLAHEd("image", 2.0, (8, 8))]
    )
    plane = cv2.GaussianBlur(image[0, ..., 0].numpy().astype(np.uint8), (5, 5), 0)
    for _ in range(2):
        plane = cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    out = chain({"image": image})["image"]
    assert np.array_equal(out[0, ..., 0].numpy(), cv2.createCLAHE(2.0, (8, 8)).apply(plane))
    assert out.dtype == torch.float32
    assert out.meta["units"] == "grey"


def test_eight_bits_on_request_clip_and_round_first() -> None:
    edges = MorphologicalGradient(eight_bit=True)(torch.tensor([[[0.4, 300.0, 254.6]]]))
    assert edges.dtype == torch.uint8
    assert edges.tolist() == [[[255, 255, 0]]]


@pytest.mark.parametrize("wrong", [{"size": 4}, {"size": 1}, {"times": -1}, {"slice_axis": 0}])
def test_impossible_arguments_are_refused_at_construction(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        MorphologicalGradient(**wrong)  # type: ignore[arg-type]
