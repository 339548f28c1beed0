"""Resampling to a spacing: nothing moves in the world, and everything comes back."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Flipd, Invertd, Orientation, Spacing
from nibabel.orientations import axcodes2ornt, inv_ornt_aff

from radseg.transforms import ResampleToSpacing, ResampleToSpacingd, resample

spacings = st.tuples(*[st.floats(0.4, 5.0)] * 3)
sizes = st.tuples(*[st.integers(1, 24)] * 3)


def oblique_affine(spacing: tuple[float, ...], seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.asarray(spacing)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return torch.from_numpy(affine)


def blob(size: tuple[int, ...]) -> torch.Tensor:
    axes = [torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in size]
    distance2 = sum(axis.reshape([-1 if a == i else 1 for a in range(3)]) ** 2 for i, axis in enumerate(axes))
    return torch.exp(-6 * torch.as_tensor(distance2)).expand(size)[None].clone()


def world_centroid_mm(image: MetaTensor) -> torch.Tensor:
    weights = image.as_tensor()[0].double()
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in weights.shape], indexing="ij")
    voxel = torch.stack([(axis * weights).sum() / weights.sum() for axis in axes] + [torch.tensor(1.0)])
    return (image.affine @ voxel)[:3]


def outer_corners_mm(image: MetaTensor) -> torch.Tensor:
    ends = [(-0.5, n - 0.5) for n in image.shape[1:]]
    corners = torch.cartesian_prod(*[torch.tensor(e, dtype=torch.float64) for e in ends])
    return corners @ image.affine[:3, :3].T + image.affine[:3, 3]


@settings(deadline=None, max_examples=60)
@given(spacings, st.tuples(*[st.integers(8, 24)] * 3), st.floats(0.5, 4.0), st.sampled_from(["linear", "nearest"]))
def test_a_blob_keeps_its_place_in_the_world(
    spacing: tuple[float, ...], size: tuple[int, ...], wanted: float, mode: str
) -> None:
    image = MetaTensor(blob(size), affine=oblique_affine(spacing))
    resampled = ResampleToSpacing(wanted, mode)(image)
    moved = torch.linalg.vector_norm(world_centroid_mm(resampled) - world_centroid_mm(image))
    assert moved < 0.3 * max(*spacing, *resampled.pixdim.tolist())


def test_halving_the_grid_of_a_label_does_not_shift_it() -> None:
    label = torch.zeros(1, 16, 16, 16)
    label[0, 4:12, 4:12, 4:12] = 1
    image = MetaTensor(label, affine=torch.eye(4))
    halved = ResampleToSpacing(2.0, "nearest")(image)
    torch.testing.assert_close(world_centroid_mm(halved), world_centroid_mm(image))


@settings(deadline=None, max_examples=60)
@given(spacings, sizes, spacings)
def test_the_field_of_view_stays_and_the_spacing_is_the_nearest_that_divides_it(
    spacing: tuple[float, ...], size: tuple[int, ...], wanted: tuple[float, ...]
) -> None:
    image = MetaTensor(torch.rand(1, *size), affine=oblique_affine(spacing))
    resampled = ResampleToSpacing(wanted)(image)
    torch.testing.assert_close(outer_corners_mm(resampled), outer_corners_mm(image), rtol=0, atol=1e-6)
    for m, n, s, t in zip(resampled.shape[1:], size, spacing, wanted, strict=True):
        assert m == 1 or abs(m * t - n * s) <= t * (0.5 + 1e-6) or (m == n and abs(s / t - 1) < 1e-3)


@settings(deadline=None, max_examples=60)
@given(spacings, sizes, st.floats(0.5, 4.0), st.sampled_from(["linear", "nearest"]))
def test_the_inverse_restores_shape_and_affine_exactly(
    spacing: tuple[float, ...], size: tuple[int, ...], wanted: float, mode: str
) -> None:
    image = MetaTensor(torch.rand(2, *size), affine=oblique_affine(spacing))
    resample = ResampleToSpacing(wanted, mode)
    back = resample.inverse(resample(image))
    assert back.shape == image.shape
    assert torch.equal(back.affine, image.affine)
    assert back.applied_operations == []


def test_linear_values_are_exact_on_a_ramp_away_from_the_border() -> None:
    ramp = torch.arange(12.0).reshape(1, 12, 1, 1).expand(1, 12, 4, 4)
    resampled = ResampleToSpacing((0.5, 1, 1))(MetaTensor(ramp, affine=torch.eye(4)))
    assert resampled.shape == (1, 24, 4, 4)
    expected = (torch.arange(24) + 0.5) / 2 - 0.5
    torch.testing.assert_close(resampled.as_tensor()[0, 1:-1, 0, 0], expected[1:-1])


def test_inside_the_image_it_agrees_with_monai_spacing_at_the_same_world_points() -> None:
    affine = torch.diag(torch.tensor([1.0, 1, 3, 1], dtype=torch.float64))
    image = MetaTensor(blob((20, 20, 10)), affine=affine)
    ours = ResampleToSpacing(1.5)(image)
    monai = Spacing((1.5, 1.5, 1.5))(image)
    assert (world_centroid_mm(ours) - world_centroid_mm(monai)).abs().max() < 0.1
    assert ours.max() == pytest.approx(float(monai.max()), abs=0.05)


def test_labels_stay_labels_of_their_dtype() -> None:
    label = MetaTensor(torch.randint(0, 4, (1, 9, 10, 11)).to(torch.uint8) * 60, affine=oblique_affine((1, 2, 3)))
    resampled = ResampleToSpacing(1.3, "nearest")(label)
    assert resampled.dtype == torch.uint8
    assert set(resampled.unique().tolist()) <= {0, 60, 120, 180}


def test_an_upsampled_label_comes_back_voxel_for_voxel() -> None:
    label = MetaTensor(torch.randint(0, 3, (1, 9, 10, 11)), affine=oblique_affine((1, 2, 3)))
    resample = ResampleToSpacing(0.5, "nearest")
    assert torch.equal(resample.inverse(resample(label)), label)


def test_an_image_at_the_wanted_spacing_is_unchanged() -> None:
    image = MetaTensor(torch.rand(1, 5, 6, 7), affine=oblique_affine((1.5, 1.5, 1.5)))
    resampled = ResampleToSpacing(1.5)(image)
    assert torch.equal(resampled, image)
    assert resampled.data_ptr() != image.data_ptr()  # what is done to it in place stays out of the source
    torch.testing.assert_close(resampled.affine, image.affine)


def test_a_2d_image_is_resampled_in_its_plane() -> None:
    image = MetaTensor(torch.rand(1, 10, 20), affine=torch.diag(torch.tensor([2.0, 1, 5, 1])))
    resample = ResampleToSpacing(0.5)
    resampled = resample(image)
    assert resampled.shape == (1, 40, 40)
    assert resampled.affine.diagonal().tolist() == [0.5, 0.5, 5, 1]
    assert torch.equal(resample.inverse(resampled).affine, image.affine)


def test_invertd_brings_a_predicted_mask_back_to_the_source_grid() -> None:
    affine = oblique_affine((0.7, 0.7, 2.5))
    truth = (blob((60, 66, 19)) > 0.4).float()
    preparation = Compose([Flipd("image", 0), ResampleToSpacingd("image", 1.5), Flipd("image", 2)])
    data = preparation({"image": MetaTensor(truth, affine=affine)})
    data["mask"] = MetaTensor((data["image"].as_tensor() > 0.5).float(), meta=data["image"].meta)
    mask = Invertd("mask", preparation, "image", nearest_interp=True)(data)["mask"]
    assert mask.shape == truth.shape
    assert set(mask.unique().tolist()) == {0, 1}
    torch.testing.assert_close(mask.affine, affine)
    overlap = 2 * (mask.as_tensor() * truth).sum() / (mask.as_tensor().sum() + truth.sum())
    assert overlap > 0.9
    moved = torch.linalg.vector_norm(world_centroid_mm(mask) - world_centroid_mm(MetaTensor(truth, affine=affine)))
    assert moved < 0.1


def test_invertd_interpolates_probabilities_when_asked() -> None:
    preparation = Compose([ResampleToSpacingd("image", 1.5)])
    data = preparation({"image": MetaTensor(blob((20, 22, 9)), affine=oblique_affine((1, 1, 2.5)))})
    data["probability"] = data["image"].clone()
    back = Invertd("probability", preparation, "image", nearest_interp=False)(data)["probability"]
    assert (back.as_tensor() - blob((20, 22, 9))).abs().max() < 0.2
    assert len(back.unique()) > 100


def test_the_trace_survives_a_batch() -> None:
    affine = oblique_affine((1, 1, 2.5))
    preparation = ResampleToSpacingd("image", 2.0)
    items = [preparation({"image": MetaTensor(torch.rand(1, 8, 8, 8), affine=affine)}) for _ in range(2)]
    restored = [preparation.inverse(item) for item in decollate_batch(list_data_collate(items))]
    assert all(item["image"].shape == (1, 8, 8, 8) for item in restored)
    assert all(torch.equal(item["image"].affine, affine) for item in restored)


def test_a_label_whose_header_was_rounded_differently_keeps_the_size_of_its_image() -> None:
    # 10 · 1.05 / 1 = 10.5: on the edge between 10 and 11 voxels
    image = MetaTensor(torch.rand(1, 10, 4, 4), affine=torch.diag(torch.tensor([1.05001, 1, 1, 1])))
    label = MetaTensor(torch.ones(1, 10, 4, 4), affine=torch.diag(torch.tensor([1.04999, 1, 1, 1])))
    out = ResampleToSpacingd(["image", "label"], 1.0, ("linear", "nearest"))({"image": image, "label": label})
    assert out["image"].shape == out["label"].shape == (1, 11, 4, 4)


def test_missing_keys_are_refused_unless_allowed() -> None:
    data = {"image": MetaTensor(torch.rand(1, 4, 4, 4), affine=torch.eye(4))}
    with pytest.raises(KeyError):
        ResampleToSpacingd(["image", "label"], 2.0)(data)
    assert ResampleToSpacingd(["image", "label"], 2.0, allow_missing_keys=True)(data)["image"].shape == (1, 2, 2, 2)


@pytest.mark.parametrize("wrong", [{"spacing_mm": 0}, {"spacing_mm": (1, -1, 1)}, {"spacing_mm": 1, "mode": "cubic"}])
def test_impossible_arguments_are_refused_at_construction(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ResampleToSpacing(**wrong)  # type: ignore[arg-type]


def test_an_image_without_spacing_is_refused() -> None:
    with pytest.raises(TypeError, match="no spacing"):
        ResampleToSpacing(1.0)(torch.rand(1, 4, 4, 4))
    with pytest.raises(ValueError, match="positive"):
        ResampleToSpacing(1.0)(MetaTensor(torch.rand(1, 4, 4, 4), affine=torch.diag(torch.tensor([1.0, 0, 1, 1]))))


def test_an_image_that_was_not_resampled_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="empty 'applied_operations'"):
        ResampleToSpacing(1.0).inverse(MetaTensor(torch.rand(1, 4, 4, 4)))


@settings(deadline=None, max_examples=60)
@given(
    sizes,
    sizes,
    st.permutations(range(3)),
    st.sampled_from(["int16", "uint8", "float32", "float64"]),
    st.sampled_from([1, 300, 1 << 18]),
    st.integers(1, 2),
    st.sampled_from([1, 3]),
)
def test_slab_by_slab_equals_the_whole(
    size: tuple[int, ...],
    new_size: tuple[int, ...],
    order: list[int],
    dtype: str,
    slab: int,
    channels: int,
    threads: int,
) -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 200, (channels, *(size[axis] for axis in order))).astype(dtype)
    image = torch.from_numpy(stored.transpose(0, *(1 + np.argsort(order))))
    assert tuple(image.shape[1:]) == size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "_SLAB_VOXELS", slab)
        patch.setattr(torch, "get_num_threads", lambda: threads)
        try:
            ours = ResampleToSpacing(1.0).interpolated(image, new_size, "linear")
        finally:
            torch.set_num_threads(1)
    whole = F.interpolate(image[None].float(), size=new_size, mode="trilinear", align_corners=False)[0]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, whole, rtol=0, atol=2e-3)  # a place is rounded to 1e-6 of its 24 voxels


@pytest.mark.parametrize("mode", ["r", "c"], ids=["read-only", "copy-on-write"])
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_a_memory_mapped_image_is_read_and_not_written(tmp_path: Path, mode: Literal["r", "c"]) -> None:
    values = np.random.default_rng(0).integers(-1000, 1000, (12, 13, 14)).astype(np.int16)
    values.T.tofile(tmp_path / "ct.raw")
    mapped = np.memmap(tmp_path / "ct.raw", np.int16, mode, shape=values.shape, order="F")
    affine = oblique_affine((0.7, 0.7, 2.5))
    resampled = ResampleToSpacing(1.5)(MetaTensor(torch.from_numpy(mapped)[None], affine=affine))
    expected = ResampleToSpacing(1.5)(MetaTensor(torch.from_numpy(values)[None], affine=affine))
    torch.testing.assert_close(resampled.as_tensor(), expected.as_tensor(), rtol=0, atol=1e-2)
    assert np.array_equal(mapped, values)


def test_a_volume_in_fortran_order_is_resampled_into_its_own_order() -> None:
    stored = torch.rand(1, 14, 13, 12).permute(0, 3, 2, 1)
    resampled = ResampleToSpacing(1.5)(MetaTensor(stored, affine=torch.eye(4)))
    assert resampled.as_tensor().permute(0, 3, 2, 1).is_contiguous()


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["RAS", "LPS", "PIL", "SRA"]), st.sampled_from(["RAS", "PLS"]), sizes, spacings)
def test_turning_before_or_after_gives_one_grid_when_the_axes_are_named(
    stored: str, axcodes: str, size: tuple[int, ...], wanted: tuple[float, ...]
) -> None:
    affine = np.diag([0.7, 1.1, 2.5, 1]) @ inv_ornt_aff(axcodes2ornt(stored), size)
    image = MetaTensor(
        torch.rand(1, *size, generator=torch.Generator().manual_seed(0)), affine=torch.from_numpy(affine)
    )
    turn = Orientation(axcodes, labels=None)
    before = ResampleToSpacing(wanted)(turn(image))
    after = turn(ResampleToSpacing(wanted, axcodes=axcodes)(image))
    assert after.shape == before.shape
    torch.testing.assert_close(after.affine, before.affine)
    torch.testing.assert_close(after.as_tensor(), before.as_tensor(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("axcodes", ["RAR", "RA", "XYZ", "RASS"])
def test_axes_that_are_not_the_patient_s_are_refused(axcodes: str) -> None:
    with pytest.raises(ValueError, match="axcodes must be"):
        ResampleToSpacing(1.0, axcodes=axcodes)
