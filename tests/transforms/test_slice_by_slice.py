"""Slices prepared a few at a time are the slices prepared all at once."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, set_track_meta
from monai.transforms import Compose, Flip, Invertd, Orientation, Orientationd, Resize, Resized, ScaleIntensityRange
from nibabel.orientations import axcodes2ornt, inv_ornt_aff

from radseg.transforms import (
    CLAHE,
    CLAHEd,
    ResampleToSpacing,
    ResizeSlices,
    SliceBySlice,
    SliceBySliced,
    WindowHU,
    WindowHUd,
)

CODES = ["RAS", "LPS", "PLS", "SRA", "ASL", "LAI", "IPR"]


def ct(code: str = "LPS", seed: int = 0, fortran: bool = True) -> MetaTensor:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(9, 20, 3))
    values = np.array(rng.integers(-1400, 1500, shape), np.int16, order="F" if fortran else "C")
    affine = np.diag([0.7, 0.8, 2.5, 1]) @ inv_ornt_aff(axcodes2ornt(code), shape)
    return MetaTensor(torch.from_numpy(values)[None], affine=torch.from_numpy(affine), meta={"units": "HU"})


def inner() -> list[Any]:
    return [
        Orientation("PLS", labels=None),
        WindowHU(-1350, 150, 0, 255, levels=256),
        CLAHE(2.0, (2, 2)),
        Resize((11, 7, -1), mode="trilinear"),
        ScaleIntensityRange(0, 255, 0, 1),
    ]


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(CODES), st.integers(0, 1000), st.integers(1, 25), st.booleans(), st.sampled_from([1, 2]))
def test_values_grid_and_traces_are_those_of_the_whole(
    code: str, seed: int, slices: int, fortran: bool, threads: int
) -> None:
    image = ct(code, seed, fortran)
    whole = Compose(inner())(image)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        by_slice = SliceBySlice(inner(), slices=slices)(image)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(by_slice.as_tensor(), whole.as_tensor())
    assert torch.equal(by_slice.affine, whole.affine)
    assert by_slice.meta["units"] == "HU"
    assert [trace["class"] for trace in by_slice.applied_operations] == ["Orientation", "Resize"]
    for ours, expected in zip(by_slice.applied_operations, whole.applied_operations, strict=True):
        assert tuple(ours["orig_size"]) == tuple(expected["orig_size"])


@pytest.mark.parametrize("axis", [0, 1, 2, -3, -1])
def test_slices_may_lie_along_any_axis(axis: int) -> None:
    image = ct()
    size = [6, 6, 6]
    size[axis] = -1
    turns = [Flip(axis % 3), Resize(size, mode="trilinear")]
    assert torch.equal(SliceBySlice(turns, axis, 3)(image).as_tensor(), Compose(turns)(image).as_tensor())


def test_invertd_brings_a_prediction_back_as_from_separate_transforms() -> None:
    separate = Compose(
        [
            Orientationd("image", "PLS", labels=None),
            WindowHUd("image", -1350, 150, 0, 255, levels=256),
            CLAHEd("image", 2.0, (2, 2)),
            Resized("image", (11, 7, -1), mode="trilinear"),
        ]
    )
    joined = Compose([SliceBySliced("image", inner()[:4], slices=4)])
    back = []
    for preparation in (separate, joined):
        data = preparation({"image": ct("RAS")})
        data["pred"] = data["image"] / 255
        back.append(Invertd("pred", preparation, "image", nearest_interp=False)(data)["pred"])
    assert back[1].shape == ct("RAS").shape
    assert torch.equal(back[0].affine, back[1].affine)
    torch.testing.assert_close(back[0].as_tensor(), back[1].as_tensor())
    assert back[1].applied_operations == []


def test_earlier_traces_are_kept_and_the_input_is_not_changed() -> None:
    image = Flip(0)(ct())
    before = image.clone()
    out = SliceBySlice(inner())(image)
    assert [trace["class"] for trace in out.applied_operations] == ["Flip", "Orientation", "Resize"]
    assert len(image.applied_operations) == 1
    assert torch.equal(image, before)


def test_it_works_in_inference_mode_on_several_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            out = SliceBySlice(inner(), slices=2)(ct())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(out.as_tensor(), Compose(inner())(ct()).as_tensor())


def test_slices_follow_each_other_in_memory() -> None:
    assert SliceBySlice(inner())(ct()).movedim(-1, 1).is_contiguous()


def test_without_tracking_it_is_applied_at_once() -> None:
    set_track_meta(False)
    try:
        out = SliceBySlice([WindowHU(-1350, 150)])(ct().as_tensor())
    finally:
        set_track_meta(True)
    assert type(out) is torch.Tensor


@pytest.mark.parametrize(
    "mixing", [ResampleToSpacing(3.0), Resize((6, 6, 6), mode="trilinear")], ids=["resampling", "fewer slices"]
)
def test_what_mixes_slices_is_refused(mixing: Any) -> None:
    with pytest.raises(ValueError, match="mixes slices or changes their number"):
        SliceBySlice([mixing])(ct())


def test_impossible_arguments_are_refused_at_construction() -> None:
    with pytest.raises(ValueError, match="spatial axis"):
        SliceBySlice([], slice_axis=3)
    with pytest.raises(ValueError, match="at least 1"):
        SliceBySlice([], slices=0)
    with pytest.raises(ValueError, match=r"\(C, H, W, D\)"):
        SliceBySlice([])(torch.zeros(1, 4, 4))


def test_missing_keys_are_refused_unless_allowed() -> None:
    with pytest.raises(KeyError):
        SliceBySliced(["image", "label"], [ResizeSlices((4, 4))])({"image": ct()})
    out = SliceBySliced(["image", "label"], [ResizeSlices((4, 4))], allow_missing_keys=True)({"image": ct()})
    assert out["image"].shape[1:3] == (4, 4)
