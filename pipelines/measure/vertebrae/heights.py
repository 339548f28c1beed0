"""Heights of the vertebral bodies of a mask, each along its own axis, with the error that the grid makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.pipelines.measure.vertebrae.refined_plates import refined
from radseg.transforms.slabs import Box, foreground_box
from radseg.transforms.vertebrae.axis import Placed, neighbours, place
from radseg.transforms.vertebrae.endplates import Body, find_body
from radseg.transforms.vertebrae.numbering import INTACT

LEAST_ML = 2.0
"""A vertebra smaller than this isn't one, or is hardly in the mask; a small cervical one has 5 ml."""

_MARGIN = 3
_ROOM_MM = 10.0
_TALLEST_MM = 45.0
_LOWEST_MM = 3.0
_MOST_LARGER = 1.65


@dataclass(frozen=True)
class MeasuredBody:
    """One vertebra of a numbered mask.

    Attributes:
        body: outline, endplates and heights; None where they can't be told.
        voxels: of the whole vertebra.
        uncertainty_mm: of a height, from the grid alone: half the width of the interval of 95 % of its errors.
        trouble: why there is no body, or None.
        at_edge: whether any of it, body or arch, lies in the image's outermost voxels.
        box: the voxels that hold it.
    """

    body: Body | None
    voxels: int
    uncertainty_mm: float
    trouble: str | None
    at_edge: bool
    box: Box


def measured_bodies(
    numbers: npt.NDArray[np.int16],
    affine_ras: npt.NDArray[np.float64],
    count: int,
    mask_spacing_mm: float = 0.0,
    image: npt.NDArray[np.floating | np.integer] | None = None,
) -> list[MeasuredBody]:
    """Measure the vertebrae 101, 102, … of a map.

    `find_body` gives the axis and where the heights are taken, `refined` the endplates to a fraction of a voxel.

    Args:
        numbers: the map, (i, j, k).
        affine_ras: voxel to RAS mm, (4, 4).
        count: how many vertebrae it holds.
        mask_spacing_mm: step of the grid on which the mask was made, if that is coarser than its own.
        image: CT in HU on the map's grid, whose grey values say more of the endplates than the map; None without.
    """
    found = foreground_box(numbers)
    if found is None:
        return []
    # what isn't at the image's edge isn't at the edge of the part either
    box = tuple(slice(max(one.start - _MARGIN, 0), one.stop + _MARGIN) for one in found)
    part = numbers[box]
    affine = affine_ras.copy()
    affine[:3, 3] += affine[:3, :3] @ [one.start for one in box]
    places = [
        (slice(0), slice(0), slice(0))
        if one is None
        else tuple(slice(outer.start + a.start, outer.start + a.stop) for outer, a in zip(box, one, strict=True))
        for one in ndimage.find_objects(np.maximum(part - INTACT, 0), max_label=count)
    ]
    edges = [_touches(one, numbers.shape) for one in places]
    sizes = np.bincount(np.maximum(part - INTACT, 0).ravel(), minlength=count + 1)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    large = [one for one in range(1, count + 1) if sizes[one] * voxel_ml >= LEAST_ML]
    # a vertebra that is hardly there is no neighbour to find an axis by
    clean = np.where(np.isin(part, [INTACT + one for one in large]), part, 0) if len(large) < count else part
    hu = None if image is None else image[box]
    known: dict[int, Placed] = {}
    measured = []
    for number in range(1, count + 1):
        voxels, whole = int(sizes[number]), places[number - 1]
        at_edge = edges[number - 1]
        if number not in large:
            small = f"too small for a vertebra ({voxels * voxel_ml:.1f} ml)"
            measured.append(MeasuredBody(None, voxels, 0.0, small, at_edge, whole))
            continue
        body, trouble = _body(clean, affine, INTACT + number, known, hu)
        beside = [int(sizes[one]) for one in large if 0 < abs(one - number) <= 2 and not edges[one - 1]]
        if beside and voxels > _MOST_LARGER * float(np.median(beside)):
            body, trouble = None, "much larger than those beside it, so two vertebrae may be joined in the mask"
        up = body.frame.axes[2] if body is not None else np.array([0.0, 0.0, 1.0])
        uncertainty = grid_uncertainty_mm(affine, up, mask_spacing_mm)
        measured.append(MeasuredBody(body, voxels, uncertainty, trouble, at_edge, whole))
    return measured


def grid_uncertainty_mm(affine_ras: npt.NDArray[np.float64], up: npt.NDArray[np.float64], at_least_mm: float) -> float:
    """Half the width of the 95 % interval of a distance between two walls that a grid of voxels cuts to its steps.

    Each wall is off by up to half a voxel either way, evenly: the standard deviation of the distance is the voxel's
    extent over √6.

    Args:
        affine_ras: voxel to RAS mm, (4, 4).
        up: the distance's direction, RAS, (3,).
        at_least_mm: a coarser grid's step that the mask was made on.
    """
    extent = float(np.linalg.norm(up @ affine_ras[:3, :3]))
    return 1.96 * max(extent, at_least_mm) / float(np.sqrt(6))


def _body(
    part: npt.NDArray[np.int16],
    affine: npt.NDArray[np.float64],
    label: int,
    known: dict[int, Placed],
    image: npt.NDArray[np.floating | np.integer] | None,
) -> tuple[Body | None, str | None]:
    """The body of a vertebra, or why there is none; `known` keeps what was found about those around it."""
    try:
        if any(one not in known for one in (label - 1, label, label + 1)):
            placed, others = place(part, affine, label)
            known.update({one.vertebra: one for one in (placed, *others)})
        beside = [known[one] for one in (label + 1, label - 1) if one in known]
        body = find_body(part, affine, known[label], *neighbours(known[label], beside))
    except ValueError:
        return None, "its body can't be told from its arch"
    if body.cut:
        return None, "the edge of the field of view cuts its body off"
    near = _grown(known[label].box, affine, part.shape)
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ [one.start for one in near]
    body = refined(body, part[near] == label, shifted, None if image is None else image[near])
    heights = tuple(vars(body.heights).values())
    if max(heights) > _TALLEST_MM:
        return None, f"its body would be {max(heights):.0f} mm high, so two vertebrae may be joined in the mask"
    if min(heights) < _LOWEST_MM:
        return None, f"its body would be {min(heights):.0f} mm high, so the mask may lack a part of it"
    return body, None


def _grown(box: Box, affine: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Box:
    """A box with room to see what lies beyond the endplates."""
    room = [int(np.ceil(_ROOM_MM / size)) for size in np.linalg.norm(affine[:3, :3], axis=0)]
    return tuple(
        slice(max(one.start - more, 0), min(one.stop + more, length))
        for one, more, length in zip(box, room, shape, strict=True)
    )


def _touches(box: Box, shape: tuple[int, ...]) -> bool:
    """Say whether a box that holds something reaches the image's edge."""
    ends = zip(box, shape, strict=True)
    return any(one.stop > 0 and (one.start == 0 or one.stop == length) for one, length in ends)
