"""Segmentation metrics of one case and label on the source grid, their means, and Dice pooled over cases.

Conventions, the same everywhere: the overlap of two empty masks is 1, of one empty mask 0; distances to or from an
empty mask are undefined (``None``), left out of means and counted there. Definitions follow Maier-Hein et al.,
"Metrics reloaded", Nature Methods 21, 2024.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.metrics.utils import get_mask_edges, get_surface_distance

IntMask = npt.NDArray[np.integer] | npt.NDArray[np.bool_]


@dataclass(frozen=True)
class OverlapCounts:
    """Voxels of one label by agreement: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 if both masks are empty."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn, undefined=1.0)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); 1 if both masks are empty."""
        return _ratio(self.tp, self.tp + self.fp + self.fn, undefined=1.0)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); if nothing was predicted, 1 when nothing was there and 0 when something was."""
        return _ratio(self.tp, self.tp + self.fp, undefined=1.0 if self.fn == 0 else 0.0)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN); if nothing was there, 1 when nothing was predicted and 0 when something was."""
        return _ratio(self.tp, self.tp + self.fn, undefined=1.0 if self.fp == 0 else 0.0)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP); 1 if the label fills the whole truth."""
        return _ratio(self.tn, self.tn + self.fp, undefined=1.0)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all voxels."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn, undefined=1.0)


@dataclass(frozen=True)
class LabelMetrics:
    """Metrics of one label in one case; distances in mm, ``None`` where undefined or not asked for.

    ``mse`` is the mean over all voxels of (p − y)², y being 1 where the truth has the label and 0 elsewhere, p the
    predicted probability or, for a bundle that doesn't keep one, the predicted mask (then it is 1 − accuracy). It needs
    no convention for empty masks: two empty ones have an error of 0.
    """

    dice: float
    iou: float
    precision: float
    sensitivity: float
    specificity: float
    accuracy: float
    mse: float
    hd95_mm: float | None
    surface_dice: float | None
    voxels_truth: int
    voxels_prediction: int


def label_metrics(
    prediction: IntMask,
    truth: IntMask,
    label: int,
    spacing_mm: Sequence[float],
    surface_tolerance_mm: float = 2.0,
    distances: bool = True,
    probability: npt.NDArray[np.floating] | None = None,
) -> LabelMetrics:
    """Compare one label of two integer masks.

    Args:
        prediction: integer mask, (H, W) or (H, W, D).
        truth: integer mask of the same shape.
        label: the label to compare.
        spacing_mm: voxel spacing along each axis, mm.
        surface_tolerance_mm: distance up to which a surface counts as hit.
        distances: compute HD95 and surface Dice, which cost seconds on a large organ; else they are ``None``.
        probability: of the label in each voxel, 0…1, the masks' shape; for ``mse``.

    Raises:
        ValueError: the shapes differ, the masks are empty arrays, or the spacing doesn't fit them.
    """
    counts = overlap_counts(prediction, truth, label)
    hd95_mm, surface_dice = None, None
    if distances:
        found = surface_distances(prediction == label, truth == label, spacing_mm)
        if found is not None:
            hd95_mm = hausdorff95(*found)
            surface_dice = surface_dice_at(*found, surface_tolerance_mm)
    return LabelMetrics(
        dice=counts.dice,
        iou=counts.iou,
        precision=counts.precision,
        sensitivity=counts.sensitivity,
        specificity=counts.specificity,
        accuracy=counts.accuracy,
        mse=1 - counts.accuracy if probability is None else mean_squared_error(probability, truth == label),
        hd95_mm=hd95_mm,
        surface_dice=surface_dice,
        voxels_truth=counts.tp + counts.fn,
        voxels_prediction=counts.tp + counts.fp,
    )


def overlap_counts(prediction: IntMask, truth: IntMask, label: int) -> OverlapCounts:
    """Count the voxels of one label in two integer masks of one shape.

    Raises:
        ValueError: the shapes differ or the masks hold no voxels.
    """
    _check_shapes(prediction, truth)
    predicted, true = prediction == label, truth == label
    tp = int(np.count_nonzero(predicted & true))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(true)) - tp
    return OverlapCounts(tp=tp, fp=fp, fn=fn, tn=prediction.size - tp - fp - fn)


def mean_squared_error(probability: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_]) -> float:
    """Return the mean of (p − y)² over all voxels (Brier score of the voxels).

    Raises:
        ValueError: the shapes differ or there are no voxels.
    """
    _check_shapes(probability, truth)
    return float(np.mean(np.square(probability.astype(np.float64) - truth)))


def surface_distances(
    prediction: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]] | None:
    """Return how far each surface voxel lies from the other mask's surface, mm: predicted to true, true to predicted.

    A surface voxel is one that a 6-neighbour (4 in 2D) erosion removes; what touches the array's border is surface.
    An axis of one voxel is no dimension: a single slice of a volume is compared as the 2D image that it is.

    Returns:
        The two sets of distances, or ``None`` if either mask is empty.

    Raises:
        ValueError: the shapes differ, the masks hold no voxels, or the spacing doesn't fit them.
    """
    _check_shapes(prediction, truth)
    if len(spacing_mm) != truth.ndim or not all(s > 0 for s in spacing_mm):
        raise ValueError(f"spacing_mm must be {truth.ndim} positive numbers, got {tuple(spacing_mm)}.")
    if not prediction.any() or not truth.any():
        return None
    box = _joint_box(prediction, truth)
    spacing = [float(s) for s, n in zip(spacing_mm, truth.shape, strict=True) if n > 1] or [1.0]
    # the masks may fill their box: the margin of background makes every outer voxel a surface voxel
    predicted, true = (np.pad(np.atleast_1d(mask.squeeze()[box]), 1) for mask in (prediction, truth))
    edges = get_mask_edges(predicted, true, crop=False)
    to_true = get_surface_distance(edges[0], edges[1], spacing=spacing)
    to_predicted = get_surface_distance(edges[1], edges[0], spacing=spacing)
    return np.asarray(to_true), np.asarray(to_predicted)


def hausdorff95(to_truth_mm: npt.NDArray[np.floating], to_prediction_mm: npt.NDArray[np.floating]) -> float:
    """Return the larger of the two directed 95th percentiles of surface distances, mm (MONAI's convention).

    Percentiles interpolate linearly. Huttenlocher et al., IEEE TPAMI 15(9), 1993.
    """
    return float(max(np.percentile(to_truth_mm, 95), np.percentile(to_prediction_mm, 95)))


def surface_dice_at(
    to_truth_mm: npt.NDArray[np.floating], to_prediction_mm: npt.NDArray[np.floating], tolerance_mm: float
) -> float:
    """Return the share of surface voxels of both masks that lie within a tolerance of the other surface.

    Every surface voxel weighs the same, as in MONAI's ``compute_surface_dice`` without subvoxels.
    Nikolov et al., J Med Internet Res 23(7), 2021, arXiv:1809.04430.
    """
    hits = np.count_nonzero(to_truth_mm <= tolerance_mm) + np.count_nonzero(to_prediction_mm <= tolerance_mm)
    return float(hits / (to_truth_mm.size + to_prediction_mm.size))


def mean_metrics(rows: Iterable[LabelMetrics]) -> dict[str, float | int | None]:
    """Average metrics over cases.

    Returns:
        The mean of every field of `LabelMetrics` under its name, over the rows in which it is defined (``None`` if
        there is no such row); the number of rows as ``cases``; and as ``hd95_mm_undefined`` and
        ``surface_dice_undefined`` the numbers of rows that were left out.
    """
    table = [asdict(row) for row in rows]
    means: dict[str, float | int | None] = {"cases": len(table)}
    for name in (field.name for field in fields(LabelMetrics)):
        defined = [row[name] for row in table if row[name] is not None]
        means[name] = float(np.mean(defined)) if defined else None
        if name in ("hd95_mm", "surface_dice"):
            means[f"{name}_undefined"] = len(table) - len(defined)
    return means


def pooled(counts: Iterable[OverlapCounts]) -> OverlapCounts:
    """Add the counts of cases up: the Dice of the result is that of one mask holding all cases' voxels."""
    rows = list(counts)
    return OverlapCounts(
        tp=sum(row.tp for row in rows),
        fp=sum(row.fp for row in rows),
        fn=sum(row.fn for row in rows),
        tn=sum(row.tn for row in rows),
    )


def _joint_box(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box that holds both masks, without the axes of one voxel."""
    either = (a | b).squeeze()
    box = []
    for axis in range(either.ndim):
        held = np.flatnonzero(either.any(axis=tuple(other for other in range(either.ndim) if other != axis)))
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def _check_shapes(prediction: npt.NDArray[Any], truth: IntMask) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction and truth differ in shape: {prediction.shape} and {truth.shape}.")
    if truth.size == 0:
        raise ValueError(f"prediction and truth hold no voxels: shape {truth.shape}.")


def _ratio(part: int, whole: int, undefined: float) -> float:
    return part / whole if whole else undefined
