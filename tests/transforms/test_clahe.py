"""CLAHE: the same pixels as OpenCV's, on images, batches and volumes."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from radseg.transforms import CLAHE, CLAHEd


def grey(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape).astype(np.float32))


def by_opencv(plane: torch.Tensor, clip_limit: float = 2.0, tiles: tuple[int, int] = (8, 8)) -> torch.Tensor:
    clahe = cv2.createCLAHE(clip_limit, tiles)
    return torch.from_numpy(clahe.apply(plane.numpy().astype(np.uint8)).astype(np.float32))


def test_an_image_equals_opencv() -> None:
    image = grey(1, 50, 61)
    assert torch.equal(CLAHE()(image).as_tensor()[0], by_opencv(image[0]))


def test_tiles_are_rows_and_columns() -> None:
    image = grey(1, 48, 64)
    expected = by_opencv(image[0], 3.0, (2, 6))  # OpenCV counts columns first
    assert torch.equal(CLAHE(3.0, tiles=(6, 2))(image).as_tensor()[0], expected)
    assert not torch.equal(expected, by_opencv(image[0], 3.0, (6, 2)))


@pytest.mark.parametrize("axis", [-1, 3, 1, 2])
def test_a_volume_is_equalised_slice_by_slice_along_the_given_axis(axis: int) -> None:
    volume = grey(2, 20, 24, 28)
    equalised = CLAHE(slice_axis=axis)(volume).as_tensor()
    assert equalised.shape == volume.shape
    for channel in range(2):
        for k in (0, volume.shape[axis] - 1):
            plane = volume.select(axis, k)[channel]
            assert torch.equal(equalised.select(axis, k)[channel], by_opencv(plane))


def test_a_batch_of_slices_equals_its_slices() -> None:
    batch = grey(3, 1, 32, 32)
    equalised = CLAHE(slice_axis=1)(batch)
    for item, expected in zip(equalised, batch, strict=True):
        assert torch.equal(item.as_tensor(), CLAHE()(expected).as_tensor())


def test_values_are_clipped_and_rounded_to_8_bits() -> None:
    rough = grey(1, 32, 32) + 0.3
    rough[0, 0, 0], rough[0, 0, 1] = 400, -20
    tidy = rough.round().clamp(0, 255)
    assert torch.equal(CLAHE()(rough), CLAHE()(tidy))


def test_metadata_are_kept_and_the_input_is_not_changed() -> None:
    image = MetaTensor(grey(1, 16, 16, 3), affine=torch.diag(torch.tensor([2.0, 2, 5, 1])), meta={"units": "HU"})
    before = image.clone()
    out = CLAHEd(["image", "absent"], allow_missing_keys=True)({"image": image})["image"]
    assert torch.equal(out.affine, image.affine)
    assert out.meta["units"] == "HU"
    assert out.dtype == torch.float32
    assert torch.equal(image, before)


def test_it_travels_to_worker_processes() -> None:
    image = grey(1, 16, 16)
    assert torch.equal(pickle.loads(pickle.dumps(CLAHE(4.0)))(image), CLAHE(4.0)(image))


@pytest.mark.parametrize("wrong", [{"clip_limit": 0}, {"tiles": (8, 0)}, {"tiles": (8,)}, {"slice_axis": 0}])
def test_impossible_arguments_are_refused_at_construction(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        CLAHE(**wrong)  # type: ignore[arg-type]


def test_a_tensor_without_channel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(16, 16\)"):
        CLAHE()(grey(16, 16))
