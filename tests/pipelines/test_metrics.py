"""Metrics: hand-computed masks, MONAI's own values, and what is said of empty masks."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import (
    compute_confusion_matrix_metric,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
    get_confusion_matrix,
)
from monai.metrics.regression import compute_mean_error_metrics as compute_mse_metric

from radseg.pipelines.metrics import (
    LabelMetrics,
    OverlapCounts,
    label_metrics,
    mean_metrics,
    overlap_counts,
    pooled,
)

UNIT = (1.0, 1.0, 1.0)


def cube(start: int, side: int = 8, size: int = 20, value: int = 1) -> np.ndarray:
    mask = np.zeros((size, size, size), np.uint8)
    mask[start : start + side, 6 : 6 + side, 6 : 6 + side] = value
    return mask


def random_mask(seed: int, shape: tuple[int, ...], density: float) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < density).astype(np.uint8)


def batched(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


def test_a_hand_computed_overlap() -> None:
    truth = np.array([[2, 2, 2, 0, 0, 0, 1, 1, 1, 1]])
    prediction = np.array([[2, 2, 0, 2, 1, 0, 1, 1, 1, 1]])  # label 2: TP 2, FP 1, FN 1, TN 6
    found = label_metrics(prediction, truth, 2, (1, 1))
    assert found.dice == pytest.approx(4 / 6)
    assert found.iou == pytest.approx(2 / 4)
    assert found.precision == pytest.approx(2 / 3)
    assert found.sensitivity == pytest.approx(2 / 3)
    assert found.specificity == pytest.approx(6 / 7)
    assert found.accuracy == pytest.approx(8 / 10)
    assert (found.voxels_truth, found.voxels_prediction) == (3, 3)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.booleans())
def test_overlap_agrees_with_monai_on_random_masks(seed: int, density: float, other: float, volume: bool) -> None:
    shape = (5, 6, 7) if volume else (12, 13)
    truth, prediction = random_mask(seed, shape, density), random_mask(seed + 1, shape, other)
    if not truth.any() or not prediction.any() or truth.all():
        return
    found = label_metrics(prediction, truth, 1, (1.0,) * len(shape), distances=False)
    y_pred, y = batched(prediction), batched(truth)
    confusion = get_confusion_matrix(y_pred, y, include_background=True)
    assert found.dice == pytest.approx(compute_dice(y_pred, y, include_background=True).item(), abs=1e-6)
    assert found.iou == pytest.approx(compute_iou(y_pred, y, include_background=True).item(), abs=1e-6)
    for name in ("precision", "sensitivity", "specificity", "accuracy"):
        monai = compute_confusion_matrix_metric(name, confusion).item()
        assert getattr(found, name) == pytest.approx(monai, abs=1e-6), name


@pytest.mark.parametrize("shift", [1, 2, 3])
@pytest.mark.parametrize("spacing", [0.7, 2.5])
def test_a_cube_shifted_by_k_voxels_has_its_shift_as_hd95(shift: int, spacing: float) -> None:
    found = label_metrics(cube(6 + shift), cube(6), 1, (spacing, 1.0, 1.0), surface_tolerance_mm=shift * spacing)
    # the face that sticks out is 64 of 296 surface voxels, so the 95th percentile lies on it
    assert found.hd95_mm == pytest.approx(shift * spacing)
    assert found.surface_dice == 1.0
    assert found.dice == pytest.approx(1 - shift / 8)


def test_surface_dice_counts_the_surface_within_the_tolerance() -> None:
    truth, prediction = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    truth[2:7, 2:7] = 1
    prediction[2:7, 2:4] = 1  # 10 surface pixels, 6 of the 10 on the truth's surface; the inner column lies 1 pixel off
    # truth: 16 surface pixels; rows 2 and 6 have columns 2, 3 in both; column 2 has 3 more: 7 at distance 0
    # prediction: column 2 (5) and the ends of column 3 (2) at distance 0, the other 3 at distance 1
    exact = label_metrics(prediction, truth, 1, (1, 1), surface_tolerance_mm=0.5)
    assert exact.surface_dice == pytest.approx((7 + 7) / (16 + 10))
    wider = label_metrics(prediction, truth, 1, (1, 1), surface_tolerance_mm=1.0)
    assert wider.surface_dice == pytest.approx((9 + 10) / (16 + 10))  # column 4 of rows 2 and 6 as well
    in_mm = label_metrics(prediction, truth, 1, (1, 0.5), surface_tolerance_mm=1.0)
    assert in_mm.surface_dice == pytest.approx((11 + 10) / (16 + 10))  # and column 5


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own call of its own function
@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(9, 8, 7), (14, 11)]),
    st.tuples(*[st.floats(0.3, 5.0)] * 3),
    st.floats(0.02, 0.6),
)
def test_distances_agree_with_monai_on_anisotropic_grids(
    seed: int, shape: tuple[int, ...], spacing: tuple[float, ...], density: float
) -> None:
    truth, prediction = random_mask(seed, shape, density), random_mask(seed + 1, shape, density)
    if not truth.any() or not prediction.any():
        return
    spacing = spacing[: len(shape)]
    found = label_metrics(prediction, truth, 1, spacing)
    arguments = {"include_background": True, "spacing": list(spacing)}
    hd95 = compute_hausdorff_distance(batched(prediction), batched(truth), percentile=95, **arguments)
    surface_dice = compute_surface_dice(batched(prediction), batched(truth), [2.0], **arguments)
    assert found.hd95_mm == pytest.approx(hd95.item(), rel=1e-5)
    assert found.surface_dice == pytest.approx(surface_dice.item(), abs=1e-6)


def test_a_mask_at_the_border_of_the_image_has_its_surface_there() -> None:
    full = np.ones((6, 6, 6), np.uint8)
    inner = np.zeros_like(full)
    inner[1:5, 1:5, 1:5] = 1
    assert label_metrics(full, full, 1, UNIT).hd95_mm == 0
    # from the 152 outer voxels: 96 of the faces are 1 away, 48 of the edges √2, 8 corners √3; 0.95 · 151 = 143.45
    assert label_metrics(inner, full, 1, UNIT).hd95_mm == pytest.approx(2**0.5 + 0.45 * (3**0.5 - 2**0.5))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_of_a_volume_scores_as_the_image_it_is(axis: int) -> None:
    truth, prediction = random_mask(1, (12, 14), 0.3), random_mask(2, (12, 14), 0.3)
    spacing = [0.5, 0.8]
    image = label_metrics(prediction, truth, 1, spacing)
    volume = label_metrics(
        np.expand_dims(prediction, axis), np.expand_dims(truth, axis), 1, [*spacing[:axis], 5.0, *spacing[axis:]]
    )
    assert volume == image


def test_single_voxels_far_apart_have_their_distance() -> None:
    truth, prediction = np.zeros((1, 1, 9), np.uint8), np.zeros((1, 1, 9), np.uint8)
    truth[0, 0, 1], prediction[0, 0, 7] = 1, 1
    assert label_metrics(prediction, truth, 1, (1, 1, 2.5)).hd95_mm == pytest.approx(15.0)
    assert label_metrics(np.ones((1, 1, 1)), np.ones((1, 1, 1)), 1, UNIT).hd95_mm == 0


def test_two_empty_masks_agree_and_have_no_distance() -> None:
    empty = np.zeros((4, 4, 4), np.uint8)
    found = label_metrics(empty, empty, 1, UNIT)
    assert (found.dice, found.iou, found.precision, found.sensitivity) == (1, 1, 1, 1)
    assert (found.specificity, found.accuracy) == (1, 1)
    assert (found.hd95_mm, found.surface_dice) == (None, None)


def test_one_empty_mask_has_no_overlap_and_no_distance() -> None:
    empty, some = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    some[1, 1, 1] = 1
    for found in (label_metrics(empty, some, 1, UNIT), label_metrics(some, empty, 1, UNIT)):
        assert (found.dice, found.iou, found.precision, found.sensitivity) == (0, 0, 0, 0)
        assert (found.hd95_mm, found.surface_dice) == (None, None)
        assert found.accuracy == pytest.approx(63 / 64)


def test_a_truth_that_fills_the_image_leaves_nothing_to_be_unspecific_about() -> None:
    full = np.ones((3, 3), np.uint8)
    assert label_metrics(full, full, 1, (1, 1)).specificity == 1


def test_distances_are_computed_only_when_asked_for() -> None:
    found = label_metrics(cube(7), cube(6), 1, UNIT, distances=False)
    assert (found.hd95_mm, found.surface_dice) == (None, None)
    assert found.dice == pytest.approx(7 / 8)


def test_means_leave_undefined_distances_out_and_count_them() -> None:
    empty = np.zeros((20, 20, 20), np.uint8)
    rows = [
        label_metrics(cube(7), cube(6), 1, UNIT),
        label_metrics(cube(9), cube(6), 1, UNIT),
        label_metrics(empty, cube(6), 1, UNIT),
    ]
    means = mean_metrics(rows)
    assert means["cases"] == 3
    assert means["dice"] == pytest.approx((7 / 8 + 5 / 8 + 0) / 3)
    assert means["hd95_mm"] == pytest.approx(2.0)
    assert means["hd95_mm_undefined"] == 1
    assert means["surface_dice_undefined"] == 1
    assert {field.name for field in dataclasses.fields(LabelMetrics)} <= set(means)


def test_the_mean_of_no_cases_is_undefined() -> None:
    means = mean_metrics([])
    assert means["cases"] == 0
    assert means["dice"] is None
    assert means["hd95_mm"] is None


def test_pooled_dice_is_that_of_all_voxels_together() -> None:
    truths = [random_mask(i, (6, 6, 6), 0.1 * i) for i in range(4)]
    predictions = [random_mask(i + 10, (6, 6, 6), 0.3) for i in range(4)]
    counts = pooled(overlap_counts(p, t, 1) for p, t in zip(predictions, truths, strict=True))
    together = overlap_counts(np.concatenate(predictions), np.concatenate(truths), 1)
    assert counts == together
    assert counts.dice == pytest.approx(2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn))
    assert pooled([]) == OverlapCounts(0, 0, 0, 0)


def test_masks_that_cannot_be_compared_are_refused() -> None:
    mask = np.ones((3, 3, 3), np.uint8)
    with pytest.raises(ValueError, match=r"differ in shape: \(3, 3, 3\) and \(3, 3, 2\)"):
        label_metrics(mask, mask[..., :2], 1, UNIT)
    with pytest.raises(ValueError, match="3 positive numbers"):
        label_metrics(mask, mask, 1, (1, 1))
    with pytest.raises(ValueError, match="3 positive numbers"):
        label_metrics(mask, mask, 1, (1, 0, 1))
    with pytest.raises(ValueError, match="no voxels"):
        overlap_counts(mask[:0], mask[:0], 1)


def test_the_squared_error_of_a_hand_computed_probability() -> None:
    truth = np.array([[1, 1, 0, 0]])
    probability = np.array([[0.9, 0.4, 0.2, 0.0]], np.float32)
    found = label_metrics((probability >= 0.5).astype(np.uint8), truth, 1, (1, 1), probability=probability)
    assert found.mse == pytest.approx((0.1**2 + 0.6**2 + 0.2**2) / 4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_the_squared_error_agrees_with_monai(seed: int, density: float, other: float) -> None:
    truth = random_mask(seed, (5, 6, 3), density)
    probability = np.random.default_rng(seed + 1).random((5, 6, 3)).astype(np.float32)
    ours = label_metrics(random_mask(seed, (5, 6, 3), other), truth, 1, UNIT, probability=probability).mse
    monai = compute_mse_metric(batched(probability), batched(truth), func=lambda x: x**2)
    assert ours == pytest.approx(float(monai), abs=1e-6)


def test_without_a_probability_the_squared_error_is_the_share_of_wrong_voxels_and_empty_masks_have_none() -> None:
    found = label_metrics(np.array([[1, 0, 0, 0]]), np.array([[1, 1, 0, 0]]), 1, (1, 1))
    assert found.mse == 1 / 4 == 1 - found.accuracy
    empty = np.zeros((3, 3), np.uint8)
    assert label_metrics(empty, empty, 1, (1, 1)).mse == 0
