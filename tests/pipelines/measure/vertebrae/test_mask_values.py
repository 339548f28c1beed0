"""Values of a numbered mask: the sacrum is no vertebra, and names that can't be right are doubted."""

import pytest

from radseg.pipelines.measure.vertebrae.mask_values import doubts_of_names, sacral_values


@pytest.mark.parametrize(
    ("values", "sacral"),
    [
        ([20, 21, 22, 23, 24, 26], [26]),  # VerSe
        ([23, 24, 25, 26, 27], [26, 27]),  # with L6 and coccyx
        ([29, 28, 27, 26, 25], [26, 25]),  # TotalSegmentator
        ([28, 27, 25], [25]),
    ],
)
def test_what_lies_below_the_last_lumbar_value_is_the_sacrum(values: list[int], sacral: list[int]) -> None:
    found, warning = sacral_values(values)
    assert found == sacral
    assert "the sacrum" in warning
    assert "isn't counted" in warning


@pytest.mark.parametrize(
    "values", [[], [26], [20, 21, 22, 23, 24, 25], [1, 2, 3], [30, 29, 28, 27], [25, 26, 27, 28], [27, 26, 25, 24]]
)
def test_other_values_are_vertebrae(values: list[int]) -> None:
    assert sacral_values(values) == ([], "")


def test_values_that_run_on_give_no_doubt() -> None:
    assert doubts_of_names([20, 21, 22], "L1") == []
    assert doubts_of_names([50, 49, 48], "C1") == []
    assert doubts_of_names([3], "L1") == []


def test_a_left_out_or_thirteenth_thoracic_vertebra_is_told_of() -> None:
    assert doubts_of_names([20, 21, 23, 24], "L1")[0].startswith("23 follows 21")
    assert doubts_of_names([31, 29, 28], "L1")[0].startswith("29 follows 31")
    assert doubts_of_names([18, 19, 28, 20], "T11")[0].startswith("28 follows 19")


@pytest.mark.parametrize("values", [[1, 2, 3], [50, 49, 48]])
def test_c1_called_c2_is_doubted(values: list[int]) -> None:
    assert "top_level is C1" in doubts_of_names(values, "C2")[0]
    assert doubts_of_names(values, "C1") == []
