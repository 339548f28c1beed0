"""Where a vertebra's body is and which way it faces, from a map of numbered vertebrae."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]
LabelArray = NDArray[np.integer]
Box = tuple[slice, slice, slice]

UNNUMBERED = (1, 2)
"""Labels of vertebrae that aren't told apart (1 vertebra, 2 fractured vertebra): neither chosen nor a neighbour."""

_COARSE_MM = 2.0
_NEIGHBOUR_MM = 75.0
_REACH_MM = 90.0
_CORE_MM = 3.0
_IN_FRONT = 0.15
_ANTERIOR = np.array([0.0, 1.0, 0.0])
_SUPERIOR = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class VertebraFrame:
    """A vertebra's own coordinates.

    Attributes:
        origin_mm: the body's middle, RAS mm, (3,).
        axes: unit vectors to the patient's right, to the front and along the spine upwards as rows, RAS, (3, 3).
    """

    origin_mm: FloatArray
    axes: FloatArray

    def local(self, points_mm: FloatArray) -> FloatArray:
        """Coordinates (…, 3) in mm to the right, front and top of points (…, 3) in RAS mm."""
        found: FloatArray = (points_mm - self.origin_mm) @ self.axes.T
        return found


@dataclass(frozen=True)
class Placed:
    """A vertebra in its map.

    Attributes:
        vertebra: its label.
        box: the voxels that hold it.
        centre_mm: the body's middle, roughly, RAS mm, (3,).
        centroid_mm: middle of the whole vertebra with its arch, RAS mm, (3,).
        cut: whether it reaches the image's edge.
    """

    vertebra: int
    box: Box
    centre_mm: FloatArray
    centroid_mm: FloatArray
    cut: bool


def grid_affine(affine: FloatArray | None, spacing_mm: Sequence[float] | None) -> FloatArray:
    """The voxel-to-RAS matrix (4, 4): the given spacing along RAS axes, else the affine.

    Raises:
        ValueError: there is neither, or a spacing isn't three positive numbers.
    """
    if spacing_mm is not None:
        spacing = np.asarray(spacing_mm, float)
        if spacing.shape != (3,) or not (spacing > 0).all():
            raise ValueError(f"spacing_mm must be three positive numbers, got {spacing_mm}.")
        return np.diag([*spacing, 1.0])
    if affine is None:
        raise ValueError("the image has no affine; give spacing_mm for an array in RAS order.")
    return np.asarray(affine, float)


def to_mm(index: FloatArray, affine: FloatArray) -> FloatArray:
    """RAS mm of voxel indices (…, 3)."""
    found: FloatArray = index @ affine[:3, :3].T + affine[:3, 3]
    return found


def boxes_of(labels: LabelArray) -> dict[int, Box]:
    """The voxels that hold each label but 0, give or take one; found on every second voxel, which takes an eighth."""
    found = ndimage.find_objects(labels[::2, ::2, ::2])
    boxes: dict[int, Box] = {}
    for label, coarse in enumerate(found, start=1):
        if coarse is not None:
            a, b, c = (
                slice(max(2 * part.start - 1, 0), min(2 * part.stop, length))
                for part, length in zip(coarse, labels.shape, strict=True)
            )
            boxes[label] = (a, b, c)
    return boxes


def place(
    labels: LabelArray, affine: FloatArray, around: int, reach_mm: float = _REACH_MM
) -> tuple[Placed, list[Placed]]:
    """Find a vertebra, and the others around it from the lowest to the highest.

    The body is the thickest part of a vertebra but for flat ones, so what lies 10 mm further in front counts as 1.5 mm
    deeper inside; the body's middle is that of what is within 3 mm of the deepest.

    Args:
        labels: one number per vertebra, (i, j, k).
        affine: voxel to RAS mm, (4, 4).
        around: the vertebra's number.
        reach_mm: how far off the others are looked for.

    Raises:
        ValueError: the map doesn't hold it.
    """
    boxes = boxes_of(labels)
    if around not in boxes:
        raise ValueError(f"the map holds no vertebra {around}.")
    middle = _box_middle_mm(boxes[around], affine)
    others = [
        _placed(labels, affine, vertebra, box)
        for vertebra, box in boxes.items()
        if vertebra not in (around, *UNNUMBERED) and np.linalg.norm(_box_middle_mm(box, affine) - middle) < reach_mm
    ]
    placed = _placed(labels, affine, around, boxes[around])
    return placed, sorted(others, key=lambda other: float(other.centre_mm[2]))


def neighbours(vertebra: Placed, others: Sequence[Placed]) -> tuple[Placed | None, Placed | None]:
    """The vertebra next below and the one next above, None where there is none within 75 mm."""
    height = vertebra.centre_mm[2]
    near = [other for other in others if np.linalg.norm(other.centre_mm - vertebra.centre_mm) < _NEIGHBOUR_MM]
    below = [other for other in near if other.centre_mm[2] < height]
    above = [other for other in near if other.centre_mm[2] > height]
    return (below[-1] if below else None), (above[0] if above else None)


def first_frame(vertebra: Placed, below: Placed | None, above: Placed | None) -> VertebraFrame:
    """The frame along the spine's curve: up from the neighbour below to the one above, front away from the arch.

    Where a neighbour is missing the vertebra itself takes its place; alone, it is taken to stand upright. The front is
    halfway between the way from the arch to the body and the patient's front, since an arch that the image's edge cuts
    on one side would turn it.
    """
    start, end = (below or vertebra).centre_mm, (above or vertebra).centre_mm
    up = end - start if start is not end else _SUPERIOR
    up = up / np.linalg.norm(up)
    return oriented(vertebra.centre_mm, up, vertebra.centre_mm - vertebra.centroid_mm)


def oriented(origin_mm: FloatArray, up: FloatArray, from_arch_mm: FloatArray) -> VertebraFrame:
    """The frame at a point with a given way up; `from_arch_mm` points from the arch to the body."""
    front = _across(_ANTERIOR, up)
    forward = from_arch_mm - (from_arch_mm @ up) * up
    length = float(np.linalg.norm(forward))
    # shorter than this the map holds bodies without arches, and says nothing of the front
    if length > 3.0 and forward @ front > 0.7 * length:
        front = _across(forward / length + front, up)
    return VertebraFrame(origin_mm, np.stack([np.cross(front, up), front, up]))


def _across(direction: FloatArray, up: FloatArray) -> FloatArray:
    across = direction - (direction @ up) * up
    found: FloatArray = across / np.linalg.norm(across)
    return found


def _box_middle_mm(box: Box, affine: FloatArray) -> FloatArray:
    return to_mm(np.array([(part.start + part.stop - 1) / 2 for part in box]), affine)


def _placed(labels: LabelArray, affine: FloatArray, vertebra: int, box: Box) -> Placed:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    steps = [max(int(_COARSE_MM / one + 0.5), 1) for one in spacing]
    coarse = (
        labels[tuple(slice(part.start, part.stop, step) for part, step in zip(box, steps, strict=True))] == vertebra
    )
    start = np.array([part.start for part in box])
    depth = ndimage.distance_transform_edt(np.pad(coarse, 1), spacing * steps)[1:-1, 1:-1, 1:-1]
    where = np.argwhere(coarse)
    points = to_mm(where * steps + start, affine)
    # a flat body may be thinner than its arch, but lies in front of it
    score = depth[tuple(where.T)] + _IN_FRONT * (points @ _ANTERIOR)
    centre_mm = points[score >= score.max() - _CORE_MM].mean(axis=0)
    # the box may be one voxel short
    cut = any(part.start <= 1 or part.stop >= size - 1 for part, size in zip(box, labels.shape, strict=True))
    return Placed(vertebra, box, centre_mm, points.mean(axis=0), cut)
