"""Bias and limits of agreement are those of the papers that proposed them, and of cases worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radseg.pipelines.report.plots.agreement import agreement
from radseg.pipelines.report.plots.sizes import pairs_of

# peak expiratory flow, l/min, first reading of each meter: Bland and Altman, Lancet 327, 1986, table 1
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI_WRIGHT = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]

sizes = st.floats(0, 1e4, allow_subnormal=False)


def test_two_peak_flow_meters_agree_as_published() -> None:
    found = agreement(MINI_WRIGHT, WRIGHT)
    assert found is not None
    assert (found.pairs, round(found.bias, 1), round(found.sd, 1)) == (17, -2.1, 38.8)
    # the paper's limits are two standard deviations away, −79.7 and 75.5 l/min; 1.96 of them are a little less
    assert found.upper == pytest.approx(75.5 - 0.04 * 38.8, abs=0.1)
    assert found.lower == pytest.approx(-79.7 + 0.04 * 38.8, abs=0.1)
    assert found.bias_interval == pytest.approx((-22.0, 17.8), abs=0.1)


def test_the_limits_of_blood_pressure_have_the_published_intervals() -> None:
    """Statistical Methods in Medical Research 8, 1999, 2.1: 85 subjects, −16.29 ± 19.61 mmHg, J − S."""
    drawn = np.random.default_rng(0).normal(size=85)
    differences = -16.29 + 19.61 * (drawn - drawn.mean()) / drawn.std(ddof=1)
    found = agreement([130.0] * 85, list(130.0 + differences))
    assert found is not None
    assert (round(found.lower, 1), round(found.upper, 1)) == (-54.7, 22.1)
    # the paper adds numbers that it has rounded to a tenth
    assert found.lower_interval == pytest.approx((-61.9, -47.5), abs=0.15)
    assert found.upper_interval == pytest.approx((14.9, 29.3), abs=0.15)


def test_three_pairs_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, sd 1; t of 2 degrees of freedom is 4.30265."""
    found = agreement([10.0, 20.0, 30.0], [11.0, 22.0, 33.0])
    assert found is not None
    assert (found.bias, found.sd) == (pytest.approx(2), pytest.approx(1))
    assert (found.lower, found.upper) == (pytest.approx(0.04), pytest.approx(3.96))
    of_bias, of_limit = 4.30265 / math.sqrt(3), 4.30265 * math.sqrt(1 / 3 + 3.8416 / 4)
    assert found.bias_interval == pytest.approx((2 - of_bias, 2 + of_bias), abs=1e-4)
    assert found.upper_interval == pytest.approx((3.96 - of_limit, 3.96 + of_limit), abs=1e-4)


def test_two_pairs_say_nothing_and_unequal_lists_are_refused() -> None:
    assert agreement([1.0, 2.0], [1.0, 3.0]) is None
    assert agreement([], []) is None
    with pytest.raises(ValueError, match="give pairs"):
        agreement([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="isn't finite"):
        agreement([1.0, 2.0, math.nan], [1.0, 2.0, 3.0])


def test_a_perfect_prediction_has_no_bias_and_no_width() -> None:
    found = agreement([1.0, 5.0, 9.0], [1.0, 5.0, 9.0])
    assert found is not None
    assert (found.bias, found.lower, found.upper) == (0, 0, 0)
    assert found.upper_interval == (0, 0)


@given(st.lists(st.tuples(sizes, sizes), min_size=3, max_size=40), st.floats(-100, 100))
def test_a_constant_error_moves_the_bias_alone_and_swapping_sides_mirrors_it(
    pairs: list[tuple[float, float]], error: float
) -> None:
    truth, prediction = [one for one, _ in pairs], [other for _, other in pairs]
    found, moved = agreement(truth, prediction), agreement(truth, [one + error for one in prediction])
    swapped = agreement(prediction, truth)
    assert found is not None
    assert moved is not None
    assert swapped is not None
    assert moved.bias == pytest.approx(found.bias + error, abs=1e-6)
    assert moved.sd == pytest.approx(found.sd, abs=1e-6)
    assert (swapped.lower, swapped.upper) == (pytest.approx(-found.upper), pytest.approx(-found.lower))
    assert found.lower_interval[0] <= found.lower <= found.bias <= found.upper <= found.upper_interval[1]


def case(truth: float, prediction: float, name: str = "volume_ml") -> tuple[dict[str, Any], dict[str, Any]]:
    return {name: truth}, {name: prediction}


def test_cases_empty_in_both_or_of_unknown_size_are_left_out_and_counted() -> None:
    found = pairs_of([case(1, 2), case(0, 3), case(0, 0), ({}, {"volume_ml": 1}), case(math.nan, 1)])
    assert found is not None
    assert (found.unit, found.pairs) == ("ml", ((1, 2), (0, 3)))
    assert found.left_out == "1 empty in both left out, 2 of unknown size left out"


def test_the_unit_is_the_one_in_which_most_cases_are_known() -> None:
    areas = [case(200, 250, "area_mm2")] * 2
    found = pairs_of([*areas, case(0.5, 0.6, "share_of_image")])
    assert found is not None
    assert (found.unit, found.pairs, found.unknown) == ("cm²", ((2, 2.5), (2, 2.5)), 1)
    shares = pairs_of([case(0.5, 0.6, "share_of_image")])
    assert shares is not None
    assert (shares.unit, shares.pairs) == ("% of the image", ((50, 60),))
    assert pairs_of([]) is None
    assert pairs_of([({}, {})]) is None
