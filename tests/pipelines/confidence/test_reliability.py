"""The calibration error of small counts, worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radseg.pipelines.confidence.reliability import Reliability


def test_ten_voxels_said_with_ninety_percent_and_right_six_times_are_off_by_thirty() -> None:
    counted = Reliability()
    counted.add(np.full(10, 0.9), np.arange(10) < 6)
    assert counted.expected_calibration_error == pytest.approx(0.3)


def test_bins_are_weighted_by_their_voxels() -> None:
    counted = Reliability()
    counted.add(np.array([0.95, 0.95, 0.95, 0.55]), np.array([True, True, True, False]))
    assert counted.expected_calibration_error == pytest.approx((3 * 0.05 + 0.55) / 4)
    assert counted.diagram() == [
        {"voxels": 1, "confidence": 0.55, "right": 0.0},
        {"voxels": 3, "confidence": 0.95, "right": 1.0},
    ]


def test_certainty_and_none_of_it_have_bins() -> None:
    counted = Reliability()
    counted.add(np.array([[0.0, 1.0]]), np.array([[False, True]]))
    assert counted.expected_calibration_error == 0
    assert counted.voxels == 2


def test_nothing_counted_is_no_number() -> None:
    assert Reliability().expected_calibration_error is None
    assert Reliability().diagram() == []


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 59))
def test_a_case_may_be_counted_in_parts(voxels: list[tuple[float, bool]], cut: int) -> None:
    confidence, right = (np.array(column) for column in zip(*voxels, strict=True))
    whole, parts = Reliability(), Reliability()
    whole.add(confidence, right)
    parts.add(confidence[:cut], right[:cut])
    parts.add(confidence[cut:], right[cut:])
    assert whole.expected_calibration_error == pytest.approx(parts.expected_calibration_error)
    assert 0 <= (whole.expected_calibration_error or 0) <= 1
