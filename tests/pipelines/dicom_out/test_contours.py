"""Outlines of a mask: every pixel comes back, whichever rule reads them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from radseg.pipelines.dicom_out.contours import outlines

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans())


def windings(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How often, and in which sense, a closed line goes round the centre of each pixel."""
    turns = np.zeros(shape, int)
    following = np.roll(points, -1, axis=0)
    for row in range(shape[0]):
        for (x, y), (_, next_y) in zip(points, following, strict=True):
            if (y > row) != (next_y > row):
                turns[row, np.arange(shape[1]) > x] += 1 if next_y < y else -1
    return turns


def drawn(mask: list[str]) -> np.ndarray:
    return np.array([[letter == "#" for letter in line] for line in mask])


@given(MASKS)
@settings(deadline=None, max_examples=150)
def test_every_mask_comes_back_whole_by_each_rule_of_filling(mask: np.ndarray) -> None:
    turns = [windings(points, mask.shape) for points in outlines(mask)]
    together = sum(turns, np.zeros(mask.shape, int))
    assert np.array_equal(together % 2 == 1, mask)  # even-odd, all outlines at once or combined by exclusive or
    assert np.array_equal(together != 0, mask)  # non-zero winding
    assert np.array_equal(together, mask.astype(int))  # union: no pixel lies in two outlines
    assert all(np.isin(one, (0, 1)).all() for one in turns)


@given(MASKS)
@settings(deadline=None, max_examples=150)
def test_there_is_one_outline_for_each_piece_whatever_its_holes(mask: np.ndarray) -> None:
    pieces, count = ndimage.label(mask)
    found = outlines(mask)
    assert len(found) == count
    for points in found:
        inside = windings(points, mask.shape) != 0
        assert len(np.unique(pieces[inside])) == 1


@given(MASKS)
@settings(deadline=None, max_examples=100)
def test_outlines_run_along_pixel_borders_and_never_cross(mask: np.ndarray) -> None:
    lines = [
        (start, end)
        for points in outlines(mask)
        for start, end in zip(points, np.roll(points, -1, axis=0), strict=True)
    ]
    across = [(min(a[0], b[0]), max(a[0], b[0]), a[1]) for a, b in lines if a[1] == b[1]]
    along = [(a[0], min(a[1], b[1]), max(a[1], b[1])) for a, b in lines if a[0] == b[0]]
    assert len(across) + len(along) == len(lines)
    assert not any(left < x < right and top < y < bottom for left, right, y in across for x, top, bottom in along)
    assert all(value % 1 == 0.5 for start, _ in lines for value in start)


def test_a_single_pixel_is_a_square_of_its_size() -> None:
    (points,) = outlines(drawn(["....", "..#.", "...."]))
    assert points.tolist() == [[1.5, 0.5], [2.5, 0.5], [2.5, 1.5], [1.5, 1.5]]


def test_a_straight_border_has_no_points_between_its_corners() -> None:
    (points,) = outlines(np.ones((40, 70), bool))
    assert len(points) == 4


def test_a_hole_is_reached_by_a_channel_that_is_left_the_way_it_was_entered() -> None:
    (points,) = outlines(drawn(["####", "#..#", "####"]))
    ways = [(tuple(a), tuple(b)) for a, b in zip(points, np.roll(points, -1, axis=0), strict=True)]
    channels = [way for way in ways if way[::-1] in ways]
    assert sorted(channels) == [((-0.5, 0.5), (0.5, 0.5)), ((0.5, 0.5), (-0.5, 0.5))]


def test_pixels_that_touch_at_a_corner_are_outlined_apart() -> None:
    found = outlines(drawn(["#.", ".#"]))
    assert [len(points) for points in found] == [4, 4]


def test_an_island_in_a_hole_has_an_outline_of_its_own() -> None:
    found = outlines(drawn(["#####", "#...#", "#.#.#", "#...#", "#####"]))
    areas = sorted(int((windings(points, (5, 5)) != 0).sum()) for points in found)
    assert areas == [1, 16]


@pytest.mark.parametrize("shape", [(0, 0), (3, 4)])
def test_an_empty_mask_has_no_outline(shape: tuple[int, int]) -> None:
    assert outlines(np.zeros(shape, bool)) == []
