"""Numbers of the statistics are those computed by hand, and scipy's."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from radseg.pipelines.experiments.statistics import holm, paired_bootstrap, signed_rank, spread

DIFFERENCES = st.lists(st.floats(-1, 1, allow_nan=False, width=32), min_size=2, max_size=30)


def test_mean_and_sample_standard_deviation_over_folds() -> None:
    # (0.82 + 0.84 + 0.80 + 0.86 + 0.83) / 5 = 0.83; squared deviations 1, 1, 9, 9, 0 (10⁻⁴) over 4
    found = spread([0.82, 0.84, 0.80, 0.86, 0.83])
    assert found.mean == pytest.approx(0.83)
    assert found.sd == pytest.approx((20e-4 / 4) ** 0.5)
    assert (found.count, found.undefined) == (5, 0)


def test_what_is_undefined_is_left_out_and_counted() -> None:
    assert spread([0.5, None, 0.7]).mean == pytest.approx(0.6)
    assert (spread([0.5, None, 0.7]).count, spread([0.5, None, 0.7]).undefined) == (2, 1)
    assert (spread([0.5, None]).mean, spread([0.5, None]).sd) == (0.5, None)
    assert (spread([None]).mean, spread([]).mean) == (None, None)


@pytest.mark.parametrize("count", [2, 7, 200])
def test_the_interval_is_that_of_scipys_percentile_bootstrap(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.02, 0.1, count)
    expected = stats.bootstrap(
        (differences,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    found = paired_bootstrap(differences.tolist(), seed=3)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_two_pairs_is_the_range_of_what_can_be_drawn() -> None:
    # means of two draws from {0, 1}: 0, 0.5 or 1 with probabilities 1/4, 1/2, 1/4
    found = paired_bootstrap([0.0, 1.0])
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)


@settings(deadline=None)
@given(DIFFERENCES, st.integers(0, 5))
def test_the_same_seed_gives_the_same_interval_around_the_data(differences: list[float], seed: int) -> None:
    found = paired_bootstrap(differences, seed=seed, resamples=200)
    assert found == paired_bootstrap(differences, seed=seed, resamples=200)
    assert found is not None
    assert min(differences) - 1e-12 <= found.low <= found.high <= max(differences) + 1e-12


@settings(deadline=None, max_examples=25)  # p of ties is summed over all signs, which takes a moment
@given(DIFFERENCES, st.integers(0, 5))
def test_patients_with_one_case_each_change_nothing(differences: list[float], seed: int) -> None:
    patients = [f"p{number}" for number in range(len(differences))]
    assert paired_bootstrap(differences, patients, seed, 200) == paired_bootstrap(differences, None, seed, 200)
    assert signed_rank(differences, patients) == signed_rank(differences)


def test_cases_of_one_patient_are_drawn_together() -> None:
    # forty slices of two patients say as much about patients as two numbers do
    differences, patients = [0.0] * 20 + [1.0] * 20, ["a"] * 20 + ["b"] * 20
    whole = paired_bootstrap(differences, patients)
    slices = paired_bootstrap(differences)
    assert whole is not None
    assert slices is not None
    assert (whole.low, whole.high) == (0.0, 1.0)
    assert slices.high - slices.low < 0.35
    # a patient with more slices weighs more, as in the mean over cases
    uneven = paired_bootstrap([0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"], resamples=1000)
    assert uneven is not None
    assert (uneven.low, uneven.high) == (0.0, 1.0)
    assert signed_rank(differences, patients).pairs == 2


def test_one_pair_or_one_patient_has_no_interval() -> None:
    assert paired_bootstrap([0.1]) is None
    assert paired_bootstrap([]) is None
    assert paired_bootstrap([0.1, 0.2, 0.3], ["a", "a", "a"]) is None


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 differences, 2 groups"):
        paired_bootstrap([0.1, 0.2, 0.3], ["a", "b"])


def test_the_signed_rank_test_by_hand() -> None:
    # ranks 1 to 6, the smallest alone is negative: W = 1; 2 of 64 sign patterns have W ≤ 1, twice for both sides
    found = signed_rank([-0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert found.p == pytest.approx(4 / 64)
    assert (found.pairs, found.nonzero, found.smallest) == (6, 6, 2 / 64)


def test_the_signed_rank_test_leaves_zeros_out() -> None:
    assert signed_rank([0.0, 0.1, 0.0, 0.2, 0.3]).p == signed_rank([0.1, 0.2, 0.3]).p == pytest.approx(2 / 8)
    # 0.3 − 0.2 and 0.2 − 0.1 differ in floating point only: a tie, p by all 2³ sign patterns
    assert signed_rank([0.3 - 0.2, 0.2 - 0.1, -0.1]).p == signed_rank([1.0, 1.0, -1.0]).p


@pytest.mark.parametrize("count", [30, 80])
def test_the_signed_rank_test_is_scipys(count: int) -> None:
    differences = np.random.default_rng(0).normal(0.03, 0.1, count)
    assert signed_rank(differences.tolist()).p == pytest.approx(stats.wilcoxon(differences).pvalue, abs=1e-12)


def test_no_difference_anywhere_is_a_p_of_one_and_no_pair_none() -> None:
    assert signed_rank([0.0, 0.0]).p == 1.0
    assert signed_rank([0.0, 0.0]).nonzero == 0
    assert (signed_rank([]).p, signed_rank([]).pairs) == (None, 0)


@pytest.mark.parametrize("count", range(1, 6))
def test_fewer_than_six_pairs_can_never_be_significant(count: int) -> None:
    found = signed_rank([0.1 * (number + 1) for number in range(count)])
    assert found.smallest is not None
    assert found.p == pytest.approx(found.smallest)
    assert found.smallest > 0.05


def test_holm_by_hand() -> None:
    # 0.01 × 4, 0.02 × 3 = 0.06, 0.03 × 2 = 0.06 (not below the one before), 0.8 × 1
    assert holm([0.03, 0.01, 0.8, 0.02]) == pytest.approx([0.06, 0.04, 0.8, 0.06])
    assert holm([0.4, 0.5]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []


def test_holm_leaves_undefined_tests_out() -> None:
    assert holm([None, 0.02, None, 0.03]) == [None, pytest.approx(0.04), None, pytest.approx(0.04)]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    pairs = sorted(zip(p_values, [one for one in adjusted if one is not None], strict=True))
    assert all(p <= found <= 1 for p, found in pairs)
    assert all(one[1] <= other[1] for one, other in pairwise(pairs))
