"""Optical distortion: a lens for images and masks alike."""

import pytest
import torch
from monai.data import MetaTensor

from radseg.transforms import OpticalDistortion, OpticalDistortiond, RandOpticalDistortion, RandOpticalDistortiond

AFFINE = torch.diag(torch.tensor([0.7, 0.8, 2.5, 1.0], dtype=torch.float64))


def disc(height: int = 65, width: int = 65, radius: float = 0.5) -> torch.Tensor:
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None]
    return ((x**2 + y**2) < radius**2).float()[None]


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", [(1, 17, 30), (2, 17, 30, 3)])
def test_zero_coefficients_change_nothing(mode: str, shape: tuple[int, ...]) -> None:
    image = torch.rand(shape)
    torch.testing.assert_close(OpticalDistortion(0, 0, mode)(image).as_tensor(), image, atol=1e-4, rtol=0)


def test_a_barrel_shrinks_and_a_pincushion_widens_what_lies_off_the_centre() -> None:
    area = disc().sum()
    assert OpticalDistortion(0.2)(disc()).sum() < area
    assert OpticalDistortion(-0.1)(disc()).sum() > area


def test_a_point_moves_by_the_formula() -> None:
    image = torch.zeros(1, 101, 101)
    image[0, 50, 81:] = torch.arange(20.0)  # a ramp to the right: value v at column 81 + v
    bent = OpticalDistortion(k1=0.1, k2=0.05)(image)
    r = 35 / 50.5  # column 85, in halves of the side
    source_column = 50 + 35 * (1 + 0.1 * r**2 + 0.05 * r**4)
    assert bent[0, 50, 85].item() == pytest.approx(source_column - 81, abs=1e-3)


def test_circles_stay_circles_on_an_oblong_image() -> None:
    image = torch.zeros(1, 60, 100)
    yy, xx = torch.meshgrid(torch.arange(60) - 29.5, torch.arange(100) - 49.5, indexing="ij")
    image[0] = ((xx**2 + yy**2) < 20**2).float()
    bent = OpticalDistortion(0.3)(image)[0] > 0.5
    rows, columns = bent.any(1).sum().item(), bent.any(0).sum().item()
    assert abs(rows - columns) <= 1
    assert rows < 40


def test_every_slice_of_a_volume_is_bent_as_an_image() -> None:
    volume = torch.rand(2, 12, 15, 4)
    bent = OpticalDistortion(0.1, -0.01)(volume)
    for k in range(4):
        torch.testing.assert_close(bent[..., k], OpticalDistortion(0.1, -0.01)(volume[..., k]))


def test_image_and_mask_are_bent_by_one_field() -> None:
    mask = (disc() * 7).to(torch.uint8)
    data = {"image": disc(), "label": mask}
    out = OpticalDistortiond(["image", "label"], 0.2, mode=("bilinear", "nearest"))(data)
    assert out["label"].dtype == torch.uint8
    assert set(out["label"].unique().tolist()) == {0, 7}
    differ = ((out["image"] > 0.5) != (out["label"] > 0)).float().mean()
    assert differ < 0.01  # the rim, where half a pixel decides


def test_metadata_are_kept_and_the_input_is_not_changed() -> None:
    image = MetaTensor(disc(), affine=AFFINE, meta={"units": "grey"})
    before = image.clone()
    bent = OpticalDistortion(0.2)(image)
    assert torch.equal(bent.affine, AFFINE)
    assert bent.meta["units"] == "grey"
    assert torch.equal(image, before)


def test_the_same_seed_bends_the_same_way() -> None:
    data = {"image": torch.rand(1, 20, 20), "label": disc(20, 20)}

    def series(seed: int) -> list[torch.Tensor]:
        bend = RandOpticalDistortiond(["image", "label"], 0.7, 0.1, 0.01, mode=("bilinear", "nearest"))
        bend.set_random_state(seed)
        return [bend(data)[key].as_tensor() for _ in range(6) for key in ("image", "label")]

    assert all(torch.equal(a, b) for a, b in zip(series(1), series(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(series(1), series(2), strict=True))


def test_the_random_form_is_its_twin_with_sampled_coefficients() -> None:
    image = torch.rand(1, 20, 20)
    bend = RandOpticalDistortion(1.0, (-0.05, 0.1), 0.01).set_random_state(3)
    bent = bend(image)
    assert -0.05 <= bend.k1 <= 0.1
    assert -0.01 <= bend.k2 <= 0.01
    assert torch.equal(bent, OpticalDistortion(bend.k1, bend.k2)(image))
    assert torch.equal(bent, bend(image, randomize=False))


def test_probability_zero_changes_nothing() -> None:
    image = torch.rand(1, 20, 20)
    assert torch.equal(RandOpticalDistortion(0.0)(image).as_tensor(), image)
    assert torch.equal(RandOpticalDistortiond("image", 0.0)({"image": image})["image"].as_tensor(), image)


def test_missing_keys_are_refused_unless_allowed() -> None:
    with pytest.raises(KeyError):
        RandOpticalDistortiond(["image", "label"], 1.0)({"image": disc()})
    out = RandOpticalDistortiond(["image", "label"], 1.0, allow_missing_keys=True)({"image": disc()})
    assert out["image"].shape == (1, 65, 65)


def test_coefficients_that_fold_the_image_are_refused_at_construction() -> None:
    with pytest.raises(ValueError, match="fold"):
        OpticalDistortion(k1=-0.2)  # 1 + 3 · (−.2) · 2 < 0 at the corner
    with pytest.raises(ValueError, match="fold"):
        OpticalDistortion(k1=-1.0, k2=0.4)  # folds between centre and corner only: 1 − 3 · .75 + 2 · .75² < 0
    with pytest.raises(ValueError, match="fold"):
        RandOpticalDistortion(k1_range=0.3)
    with pytest.raises(ValueError, match="k1_range"):
        RandOpticalDistortiond("image", k1_range=(0.1, 0.0))
    with pytest.raises(ValueError, match="mode"):
        OpticalDistortiond("image", mode="cubic")
    with pytest.raises(ValueError, match="padding_mode"):
        OpticalDistortion(padding_mode="wrap")
