"""The HU window: what a viewer shows, in numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Invertd, ScaleIntensityRange

from radseg.transforms import WindowHU, WindowHUd

AFFINE = torch.diag(torch.tensor([0.7, 0.7, 2.5, 1.0], dtype=torch.float64))


def ct(values: list[float], **meta: object) -> MetaTensor:
    return MetaTensor(torch.tensor(values).reshape(1, 1, -1), affine=AFFINE, meta=dict(meta))


def test_the_window_edges_become_the_output_edges_and_what_lies_outside_is_clipped() -> None:
    windowed = WindowHU(-1350, 150)(ct([-2048, -1350, -600, 150, 3071]))
    assert windowed.flatten().tolist() == pytest.approx([0, 0, 0.5, 1, 1])


def test_it_agrees_with_monai_on_hounsfield_units() -> None:
    image = torch.randn(1, 8, 8, 4) * 500
    monai = ScaleIntensityRange(-200, 1200, 0, 255, clip=True)(image)
    torch.testing.assert_close(WindowHU(-200, 1200, 0, 255)(image), monai, rtol=0, atol=1e-3)


def test_256_levels_give_whole_numbers_of_an_8_bit_image() -> None:
    windowed = WindowHU(-1350, 150, 0, 255, levels=256)(ct([-1350, -1347.2, -1347, 0, 150]))
    assert windowed.flatten().tolist() == [0, 0, 1, 230, 255]  # 255 · 2.8/1500 = .48, 255 · 3/1500 = .51, 229.5


def test_an_image_that_was_windowed_before_is_only_rescaled() -> None:
    grey = ct([0, 51, 255], units="grey")
    assert WindowHU(-1350, 150)(grey).flatten().tolist() == pytest.approx([0, 0.2, 1])
    assert WindowHU(-1350, 150, 0, 255, levels=256)(grey).flatten().tolist() == [0, 51, 255]


@given(st.lists(st.floats(-3000, 4000, width=32), min_size=1, max_size=20))
def test_the_inverse_gives_back_what_lay_inside_the_window(values: list[float]) -> None:
    image = ct(values, units="HU")
    window = WindowHU(-200, 1200)
    back = window.inverse(window(image))
    torch.testing.assert_close(back.as_tensor(), image.as_tensor().clamp(-200, 1200), rtol=0, atol=1e-3)


def test_the_inverse_of_a_grey_image_is_grey() -> None:
    window = WindowHUd("image", -200, 1200)
    out = window.inverse(window({"image": ct([0, 51, 255], units="grey")}))
    assert out["image"].flatten().tolist() == pytest.approx([0, 51, 255])


def test_the_input_is_not_changed_and_its_metadata_are_kept() -> None:
    image = ct([-2000, 0], units="HU", series="a")
    windowed = WindowHU(-200, 1200)(image)
    assert image.flatten().tolist() == [-2000, 0]
    assert windowed.meta["series"] == "a"
    assert torch.equal(windowed.affine, AFFINE)
    assert windowed.dtype == torch.float32


def test_in_place_it_writes_over_a_float_image_and_never_over_an_integer_one() -> None:
    image = ct([-2000.0, 500.0])
    windowed = WindowHU(-200, 1200, in_place=True)(image)
    assert windowed.data_ptr() == image.data_ptr()
    assert windowed.flatten().tolist() == [0, 0.5]
    stored = MetaTensor(torch.tensor([[[-32768, 500, 32767]]], dtype=torch.int16), affine=AFFINE)
    assert WindowHU(-200, 1200, in_place=True)(stored).flatten().tolist() == [0, 0.5, 1]
    assert stored.flatten().tolist() == [-32768, 500, 32767]


def test_a_predicted_mask_is_left_alone_when_the_preparation_is_inverted() -> None:
    preparation = Compose([Flipd("image", 1), WindowHUd("image", -200, 1200)])
    data = preparation({"image": ct([-2000, 0, 800], units="HU")})
    data["mask"] = MetaTensor(torch.tensor([[[0.0, 1.0, 1.0]]]), meta=data["image"].meta)
    inverted = Invertd("mask", preparation, "image")(data)
    assert inverted["mask"].flatten().tolist() == [1, 1, 0]


def test_missing_keys_are_refused_unless_allowed() -> None:
    with pytest.raises(KeyError):
        WindowHUd(["image", "other"], -200, 1200)({"image": ct([0])})
    out = WindowHUd(["image", "other"], -200, 1200, allow_missing_keys=True)({"image": ct([-200])})
    assert out["image"].item() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"lower_hu": 1, "upper_hu": 1},
        {"lower_hu": 0, "upper_hu": 1, "out_min": 1, "out_max": 0},
        {"lower_hu": 0, "upper_hu": 1, "levels": 1},
        {"lower_hu": float("nan"), "upper_hu": 1},
    ],
)
def test_an_impossible_window_is_refused_at_construction(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        WindowHU(**wrong)  # type: ignore[arg-type]
