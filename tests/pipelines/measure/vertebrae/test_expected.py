"""Heights to expect from the intact vertebrae of a spine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.measure.vertebrae.expected import expected_heights


def line(count: int = 7, first: float = 20.0, growth: float = 0.5) -> np.ndarray:
    return np.repeat(first + growth * np.arange(count)[:, None], 3, axis=1)


def all_of(heights: np.ndarray) -> np.ndarray:
    return np.ones(len(heights), bool)


def test_between_intact_vertebrae_an_even_growth_is_met() -> None:
    found = expected_heights(3, line(), all_of(line()))
    assert found is not None
    assert found.heights_mm == pytest.approx(21.5)
    assert found.reference == (0, 1, 2, 4, 5, 6)


def test_a_bend_of_the_heights_is_followed() -> None:
    heights = 27 - 0.6 * (np.arange(7.0) - 3)[:, None] ** 2 * np.ones(3)
    found = expected_heights(3, heights, all_of(heights))
    assert found is not None
    # the mean of the next two would be 0.6 lower
    assert found.heights_mm == pytest.approx(27, abs=0.3)


def test_a_neighbour_counts_more_than_those_further_on() -> None:
    heights = line(growth=0.0)
    change = []
    for place in (2, 1, 0):
        moved = heights.copy()
        moved[place] += 1.0
        found = expected_heights(3, moved, all_of(heights))
        assert found is not None
        change.append(abs(float(found.heights_mm[0]) - 20))
    assert change[0] > 0.4
    assert max(change[1:]) < 0.2


def test_beyond_the_last_it_is_less_sure_and_follows_no_steep_line() -> None:
    heights = line(5)
    heights[1] -= 2.0
    end, between = (expected_heights(place, heights, all_of(heights)) for place in (0, 2))
    assert end is not None
    assert between is not None
    assert end.error > 1.3 * between.error
    assert 17.0 < float(end.heights_mm[0]) < 20.5


def test_without_intact_vertebrae_nothing_is_expected() -> None:
    assert expected_heights(0, line(1), np.array([True])) is None
    assert expected_heights(1, line(3), np.array([False, True, False])) is None


@settings(deadline=None)
@given(st.lists(st.floats(5, 45), min_size=2, max_size=20), st.integers(0, 19), st.floats(0.3, 3))
def test_a_larger_patient_has_larger_heights(values: list[float], place: int, size: float) -> None:
    heights = np.repeat(np.array(values)[:, None], 3, axis=1)
    place %= len(values)
    one, other = (expected_heights(place, each, all_of(heights)) for each in (heights, size * heights))
    assert one is not None
    assert other is not None
    assert other.heights_mm == pytest.approx(size * one.heights_mm)
    assert other.error == pytest.approx(one.error)
