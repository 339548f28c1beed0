"""A region says which boxes of any grid it reaches into, and misses none."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.engine.locate import Region

Affine = npt.NDArray[np.float64]

spacings = st.tuples(*[st.floats(0.4, 6.0)] * 3)
angles = st.tuples(*[st.floats(-45.0, 45.0)] * 3)
places = st.tuples(*[st.floats(-40.0, 40.0)] * 3)
flips = st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)
orders = st.permutations([0, 1, 2])
seeds = st.integers(0, 2**32 - 1)


def affine(
    spacing: tuple[float, ...],
    angle: tuple[float, ...] = (0.0, 0.0, 0.0),
    place: tuple[float, ...] = (0.0, 0.0, 0.0),
    flip: tuple[float, ...] = (1.0, 1.0, 1.0),
    order: list[int] | None = None,
) -> Affine:
    turn = np.eye(3)
    for axis, degrees in enumerate(angle):
        one, other = (other for other in range(3) if other != axis)
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        step = np.eye(3)
        step[[one, one, other, other], [one, other, one, other]] = cos, -sin, sin, cos
        turn = step @ turn
    result = np.eye(4)
    result[:3, :3] = (turn * (np.array(flip) * np.array(spacing)))[:, order or [0, 1, 2]]
    result[:3, 3] = place
    return result


def random_region(rng: np.random.Generator, affine_ras: Affine) -> Region:
    return Region(rng.random(tuple(rng.integers(1, 9, 3))) < rng.choice([0.02, 0.2, 0.8]), affine_ras)


def random_boxes(rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    start = rng.integers(-30, 40, (count, 3))
    return np.stack([start, start + rng.integers(1, 30, (count, 3))], axis=2)


def on_grid(grid: Affine, region: Region, index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    matrix = np.linalg.inv(grid) @ region.affine_ras
    return np.asarray(index @ matrix[:3, :3].T + matrix[:3, 3])


@settings(max_examples=60, deadline=None)
@given(spacings, spacings, angles, angles, places, flips, orders, seeds)
def test_a_box_around_any_point_of_the_region_is_needed_on_any_grid(
    of_region: tuple[float, ...],
    of_grid: tuple[float, ...],
    region_angle: tuple[float, ...],
    grid_angle: tuple[float, ...],
    place: tuple[float, ...],
    flip: tuple[float, ...],
    order: list[int],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    grid = affine(of_grid, grid_angle, place, flip, order)
    region = random_region(rng, affine(of_region, region_angle))
    held = np.argwhere(region.mask)
    if not len(held):
        return
    points = on_grid(grid, region, held[rng.integers(0, len(held), 40)] + rng.uniform(-0.5, 0.5, (40, 3)))
    voxel = np.rint(points).astype(int)
    boxes = np.stack([voxel - rng.integers(0, 4, (40, 3)), voxel + 1 + rng.integers(0, 4, (40, 3))], axis=2)
    assert region.needed(grid)(boxes).all()


@settings(max_examples=60, deadline=None)
@given(spacings, spacings, angles, places, flips, orders, seeds)
def test_on_parallel_axes_exactly_the_boxes_that_a_voxel_overlaps_are_needed(
    of_region: tuple[float, ...],
    of_grid: tuple[float, ...],
    angle: tuple[float, ...],
    place: tuple[float, ...],
    flip: tuple[float, ...],
    order: list[int],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    grid = affine(of_grid, angle, place, flip, order)
    region = random_region(rng, affine(of_region, angle))
    boxes = random_boxes(rng, 50)
    held = np.argwhere(region.mask)
    ends = np.sort(np.stack([on_grid(grid, region, held + side) for side in (-0.5, 0.5)], axis=2), axis=2)
    overlap = np.minimum(ends[None, ..., 1], boxes[:, None, :, 1] - 0.5) - np.maximum(
        ends[None, ..., 0], boxes[:, None, :, 0] - 0.5
    )
    deepest = overlap.min(axis=2).max(axis=1, initial=-np.inf)  # in voxels of the grid
    needed = region.needed(grid)(boxes)
    assert needed[deepest > 1e-6].all()
    clearly_apart = deepest < -0.05 * max(of_region) / min(of_grid)
    assert not needed[clearly_apart].any()


@settings(max_examples=60, deadline=None)
@given(spacings, spacings, angles, seeds)
def test_a_box_two_turned_voxels_away_is_not_needed(
    of_region: tuple[float, ...], of_grid: tuple[float, ...], angle: tuple[float, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grid = affine(of_grid)
    region = random_region(rng, affine(of_region, angle))
    boxes = random_boxes(rng, 50)
    center = on_grid(grid, region, np.argwhere(region.mask).astype(float))
    size = np.abs((np.linalg.inv(grid) @ region.affine_ras)[:3, :3]).sum(axis=1)
    gap = np.maximum(boxes[:, None, :, 0] - 0.5 - center, center - boxes[:, None, :, 1] + 0.5) / size
    away = (gap.max(axis=2) > 2.1).all(axis=1)
    assert not region.needed(grid)(boxes)[away].any()


@settings(max_examples=60, deadline=None)
@given(spacings, spacings, angles, places, flips, seeds)
def test_nothing_of_the_region_inside_the_grid_is_outside_its_box(
    of_region: tuple[float, ...],
    of_grid: tuple[float, ...],
    angle: tuple[float, ...],
    place: tuple[float, ...],
    flip: tuple[float, ...],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    grid, shape = affine(of_grid, angle, place, flip), (30, 20, 25)
    region = random_region(rng, affine(of_region))
    box = np.array(region.box(grid, shape))
    points = on_grid(grid, region, np.argwhere(region.mask).astype(float))
    voxels = np.rint(points[((points > -0.5) & (points < np.array(shape) - 0.5)).all(axis=1)])
    assert ((voxels >= box[:, 0]) & (voxels < box[:, 1])).all()
    assert (box[:, 0] >= 0).all()
    assert (box[:, 1] <= shape).all()


def test_the_box_on_the_regions_own_grid_is_its_bounding_box() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[2:5, 3:4, 6:9] = True
    own = affine((2.0, 3.0, 4.0), (10.0, 20.0, 5.0))
    box = Region(mask, own).box(own, (9, 9, 9))
    for (start, stop), low, high in zip(box, (2, 3, 6), (5, 4, 9), strict=True):
        assert low - 1 <= start <= low
        assert high <= stop <= high + 1


def test_an_empty_region_needs_nothing_and_has_no_box() -> None:
    region = Region(np.zeros((4, 5, 6), dtype=bool), np.eye(4))
    assert not region.needed(affine((1.0, 1.0, 1.0), (30.0, 0.0, 0.0)))(np.array([[[-9, 99]] * 3])).any()
    assert region.box(np.eye(4), (4, 5, 6)) == ((0, 0), (0, 0), (0, 0))


def test_a_box_without_voxels_is_not_needed() -> None:
    region = Region(np.ones((4, 4, 4), dtype=bool), np.eye(4))
    assert region.needed(np.eye(4))(np.array([[[0, 4]] * 3, [[2, 2], [0, 4], [0, 4]]])).tolist() == [True, False]


@pytest.mark.parametrize("mm", [0.0, 1.0, 7.0])
def test_a_grown_region_holds_everything_that_near(mm: float) -> None:
    mask = np.zeros((21, 21, 21), dtype=bool)
    mask[10, 10, 10] = True
    tilted = affine((1.0, 2.0, 3.0))
    tilted[1, 2] = 1.0  # gantry tilt: slices are shifted, not turned
    grown = Region(mask, tilted).grown(mm)
    directions = np.random.default_rng(0).normal(size=(200, 3))
    away = directions / np.linalg.norm(directions, axis=1, keepdims=True) * mm
    index = np.rint(10 + away @ np.linalg.inv(tilted[:3, :3]).T).astype(int)
    assert grown.mask[tuple(index.T)].all()
    assert grown.mask.sum() < 9 * (2 * mm + 3) ** 3
