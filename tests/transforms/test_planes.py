"""Planes through a function: every layout of planes, type, metadata and memory order."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta

from radseg.transforms.planes import as_8_bit, as_float32, as_grey, change_planes, checked_slice_axis, plane_by_plane


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


def mirrored(plane: np.ndarray) -> np.ndarray:
    assert plane.flags.c_contiguous
    return plane[::-1].copy()


@pytest.mark.parametrize(
    ("shape", "axis", "rows"),
    [
        ((1, 4, 5), -1, 1),
        ((3, 4, 5), -1, 1),
        ((1, 4, 5, 1), -1, 1),
        ((2, 4, 5, 3), -1, 1),
        ((2, 4, 5, 3), 3, 1),
        ((2, 3, 4, 5), 1, 2),
        ((1, 1, 4, 5), 1, 2),
        ((2, 4, 3, 5), 2, 1),
        ((1, 1, 5), -1, 1),
        ((1, 1, 1, 1), -1, 1),
    ],
)
def test_every_plane_is_changed_where_it_lies(shape: tuple[int, ...], axis: int, rows: int) -> None:
    image = numbered(*shape)
    changed = change_planes("Mirror", image, axis, as_float32, mirrored)
    assert torch.equal(torch.as_tensor(changed), image.flip(rows))


def test_a_transposed_picture_is_changed_like_its_copy() -> None:
    picture = numbered(4, 5).T[None, ..., None]
    assert torch.equal(
        change_planes("Mirror", picture, -1, as_float32, mirrored),
        change_planes("Mirror", picture.contiguous(), -1, as_float32, mirrored),
    )


def test_a_meta_tensor_keeps_its_metadata_and_its_values() -> None:
    image = MetaTensor(numbered(1, 4, 5, 1), affine=torch.diag(torch.tensor([2.0, 3, 1, 1])), meta={"units": "grey"})
    image.applied_operations = [{"class": "Before"}]
    before = image.clone()
    changed = change_planes("Mirror", image, -1, as_float32, mirrored)
    assert isinstance(changed, MetaTensor)
    assert torch.equal(changed.affine, image.affine)
    assert changed.meta["units"] == "grey"
    assert changed.applied_operations == image.applied_operations
    changed.meta["units"] = "label"
    changed.applied_operations.append({"class": "After"})
    assert image.meta["units"] == "grey"
    assert len(image.applied_operations) == 1
    assert torch.equal(image, before)


def test_without_tracking_a_plain_tensor_comes_back() -> None:
    set_track_meta(False)
    try:
        changed = change_planes("Mirror", MetaTensor(numbered(1, 4, 5)), -1, as_float32, mirrored)
    finally:
        set_track_meta(True)
    assert type(changed) is torch.Tensor


def test_a_tensor_that_wants_a_gradient_is_taken() -> None:
    changed = change_planes("Mirror", numbered(1, 4, 5).requires_grad_(), -1, as_float32, mirrored)
    assert not changed.requires_grad


@pytest.mark.parametrize("shape", [(4, 5), (1, 1, 4, 5, 6)])
def test_another_number_of_axes_is_refused_with_the_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Mirror takes \(C, H, W\) or \(C, H, W, D\), got shape"):
        change_planes("Mirror", torch.zeros(shape), -1, as_float32, mirrored)


def test_the_first_axis_stacks_no_slices() -> None:
    with pytest.raises(ValueError, match="slice_axis must be a spatial axis"):
        checked_slice_axis(0)


def test_8_bits_are_clipped_and_rounded_and_the_input_stays() -> None:
    values = np.array([-5, 0.4, 1.5, 254.6, 300], np.float32)
    before = values.copy()
    assert as_8_bit(values).tolist() == [0, 0, 2, 255, 255]
    assert np.array_equal(values, before)
    bytes_ = np.array([7], np.uint8)
    assert as_8_bit(bytes_) is bytes_


def test_grey_values_keep_8_bits_and_are_float32_otherwise() -> None:
    assert as_grey(np.zeros(3, np.uint8)).dtype == np.uint8
    assert {as_grey(np.zeros(3, dtype)).dtype for dtype in (np.int16, np.float64, np.float32)} == {np.dtype("float32")}


def test_changed_volumes_are_contiguous() -> None:
    assert plane_by_plane(numbered(2, 3, 4, 5).numpy(), -1, as_float32, mirrored).flags.c_contiguous
