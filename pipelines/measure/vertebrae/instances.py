"""Vertebrae told apart: which voxels of a mask belong to which vertebra."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from radseg.pipelines.measure.vertebrae.bodies import Disc, Stretch, find_bodies
from radseg.pipelines.measure.vertebrae.column import Column, find_column
from radseg.pipelines.measure.vertebrae.even_grid import STEP_MM, EvenGrid, even_grid
from radseg.pipelines.measure.vertebrae.groups import one_spine
from radseg.pipelines.measure.vertebrae.mask_values import sacral_values
from radseg.transforms.slabs import Box, foreground_box
from radseg.transforms.vertebrae.numbering import INTACT

Numbers = npt.NDArray[np.int16]

_CORE = 0.7
_CORE_HEIGHT = 0.8
_BODY = 1.7
_CANAL = -1.1
_LOOSE_MM = 25.0
_LARGE_ML = 1.0


@dataclass(frozen=True)
class Instances:
    """The vertebrae of a mask.

    Attributes:
        numbers: 101 the highest vertebra, 102 the one below and so on, 0 elsewhere, (i, j, k).
        count: how many there are.
        warnings: what is odd about the mask.
    """

    numbers: Numbers
    count: int
    warnings: tuple[str, ...] = ()


def split_vertebrae(mask: npt.NDArray[np.integer], affine_ras: npt.NDArray[np.float64]) -> Instances:
    """Tell the vertebrae of a mask apart, also where they touch.

    Bodies are found along the spine's curve (`find_column`, `find_bodies`); every other voxel goes to the body that it
    is nearest to on a way through the bone, on which thin places count more: arches go to their own bodies by the
    pedicles, not by the joints. Next to the bodies the middle of the disc is such a thin place even where the mask is
    bridged. A loose piece goes to what is nearest, if that is within 25 mm. The first cervical vertebra has no body and
    isn't told from the second.

    Args:
        mask: labels, (i, j, k); anything above 0 is bone.
        affine_ras: voxel to RAS mm, (4, 4).
    """
    nothing = Instances(np.zeros(mask.shape, np.int16), 0)
    whole = even_grid(mask, affine_ras)
    if whole is None:
        return replace(nothing, warnings=("the mask is empty: there are no vertebrae to measure",))
    kept, warnings = one_spine(whole.inside)
    if kept is None:
        return replace(nothing, warnings=warnings)
    grid = EvenGrid(kept, whole.origin_mm)
    column = find_column(grid)
    bodies, discs = find_bodies(grid, column) if column is not None else ([], [])
    if column is None or not bodies:
        warning = "nothing in the mask is as thick as a vertebral body: no vertebra is measured"
        return replace(nothing, warnings=(*warnings, warning))
    even = _grown(grid, column, bodies, discs)
    numbers = np.zeros(mask.shape, np.int16)
    _carry(even, grid, mask, affine_ras, numbers)
    lost = int(np.count_nonzero(grid.inside & (even == 0))) * STEP_MM**3 / 1000
    if lost > _LARGE_ML:
        warnings = (*warnings, f"{lost:.1f} ml of the mask lie far from every vertebral body and are left out")
    return Instances(numbers, len(bodies), warnings)


def numbered_vertebrae(
    mask: npt.NDArray[np.integer], affine_ras: npt.NDArray[np.float64]
) -> tuple[Instances, list[int]]:
    """The vertebrae of a mask that holds one value for each, and their values from the highest to the lowest.

    As in `split_vertebrae` what lies beside the spine is left out, and two spines have no vertebrae. The sacrum is left
    out where its value tells it (`sacral_values`).

    Args:
        mask: (i, j, k), 0 outside.
        affine_ras: voxel to RAS mm, (4, 4).
    """
    box = foreground_box(mask)
    numbers = np.zeros(mask.shape, np.int16)
    if box is None:
        return Instances(numbers, 0, ("the mask is empty: there are no vertebrae to measure",)), []
    part, warnings = _of_one_spine(mask, affine_ras, box)
    if part is None:
        return Instances(numbers, 0, warnings), []
    values = [int(value) for value in np.unique(part) if value > 0]
    start = np.array([one.start for one in box])
    places = np.searchsorted(values, part, side="right") * (part > 0)
    heights = []
    for found in ndimage.find_objects(places):
        middle = np.array([(one.start + one.stop - 1) / 2 for one in found]) + start
        heights.append(float(affine_ras[2, :3] @ middle + affine_ras[2, 3]))
    order = [values[place] for place in np.argsort(heights, kind="stable")[::-1]]
    sacral, warning = sacral_values(order)
    if sacral:
        order, warnings = order[: -len(sacral)], (*warnings, warning)
    for place, value in enumerate(order, start=1):
        numbers[box][part == value] = INTACT + place
    return Instances(numbers, len(order), warnings), order


def _of_one_spine(
    mask: npt.NDArray[np.integer], affine_ras: npt.NDArray[np.float64], box: Box
) -> tuple[npt.NDArray[np.integer] | None, tuple[str, ...]]:
    """The mask's values in its box, 0 beside the spine, and warnings; None where there seem to be two spines."""
    grid = even_grid(mask, affine_ras)
    kept, warnings = (None, ()) if grid is None else one_spine(grid.inside)
    if grid is None or not warnings:
        return mask[box], ()
    if kept is None:
        return None, warnings
    part = mask[box].copy()
    bone = part > 0
    at = _nearest_points(bone, box, grid, affine_ras)
    to_spine, to_rest = (ndimage.distance_transform_edt(~one)[at] for one in (kept, grid.inside & ~kept))
    part[bone] = np.where(to_spine > to_rest, 0, part[bone])
    return part, warnings


def _grown(grid: EvenGrid, column: Column, bodies: list[Stretch], discs: list[Disc]) -> Numbers:
    """The vertebra of each point of the grid, 101 the highest, grown from the bodies' cores through the bone."""
    where = np.argwhere(grid.inside)
    along, right, front, wall = column.placed(grid.to_mm(where.astype(float)))
    off = np.hypot(right, front)
    depth = np.asarray(ndimage.distance_transform_edt(grid.inside), float)[grid.inside] * STEP_MM
    if discs:
        near = np.min([disc.distance_mm(along, front) for disc in discs], axis=0)
        body = (off < _BODY * wall) & (front > _CANAL * wall)
        depth = np.where(body, np.minimum(depth, near), depth)
    seeds = np.zeros(len(where), np.int16)
    for place, one in enumerate(bodies):
        middle, half = (one.start_mm + one.end_mm) / 2, _CORE_HEIGHT * one.length_mm / 2
        seeds[(np.abs(along - middle) <= half) & (off <= _CORE * wall)] = INTACT + len(bodies) - place
    if not seeds.any():
        return np.zeros(grid.inside.shape, np.int16)
    even = np.zeros(grid.inside.shape, np.int16)
    even[grid.inside] = _nearest_through_bone(grid.inside, seeds, depth)
    loose = grid.inside & (even == 0)
    if loose.any():
        distance, nearest = ndimage.distance_transform_edt(even == 0, return_indices=True)
        close = loose & (distance * STEP_MM <= _LOOSE_MM)
        even[close] = even[tuple(nearest[:, close])]
    return even


def _nearest_through_bone(inside: npt.NDArray[np.bool_], seeds: Numbers, depth_mm: npt.NDArray[np.float64]) -> Numbers:
    """The seed that each point inside reaches most cheaply, a step costing the inverse square of the depth; else 0."""
    count = len(seeds)
    index = np.full(inside.shape, -1, np.int32)
    index[inside] = np.arange(count)
    starts, ends = [], []
    for axis in range(3):
        here, there = (np.take(index, range(a, inside.shape[axis] - 1 + a), axis=axis) for a in (0, 1))
        both = (here >= 0) & (there >= 0)
        starts.append(here[both])
        ends.append(there[both])
    start, end = np.concatenate(starts), np.concatenate(ends)
    cost = 1 / (np.minimum(depth_mm[start], depth_mm[end]) + 0.25 * STEP_MM) ** 2
    graph = sparse.coo_matrix((cost, (start, end)), (count, count)).tocsr()
    sources = np.flatnonzero(seeds)
    _, _, source = sparse.csgraph.dijkstra(
        graph, directed=False, indices=sources, min_only=True, return_predecessors=True
    )
    return np.where(source >= 0, seeds[np.maximum(source, 0)], 0).astype(np.int16)


def _carry(
    even: Numbers, grid: EvenGrid, mask: npt.NDArray[np.integer], affine_ras: npt.NDArray[np.float64], numbers: Numbers
) -> None:
    """Write the vertebra of each voxel of the mask: that of the nearest point of the even grid that has one."""
    box = foreground_box(mask)
    assert box is not None
    bone = mask[box] > 0
    at = _nearest_points(bone, box, grid, affine_ras)
    distance, to = ndimage.distance_transform_edt(even == 0, return_indices=True)
    found = even[tuple(to[(slice(None), *at)])]
    numbers[box][bone] = np.where(distance[at] <= 2, found, 0)


def _nearest_points(
    bone: npt.NDArray[np.bool_], box: Box, grid: EvenGrid, affine_ras: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int_], ...]:
    """Indices of the even grid's points nearest to the voxels marked in a box of the image."""
    where = np.argwhere(bone) + [one.start for one in box]
    index = grid.to_index(where @ affine_ras[:3, :3].T + affine_ras[:3, 3])
    return tuple(np.clip(np.rint(index).astype(int), 0, np.array(grid.inside.shape) - 1).T)
