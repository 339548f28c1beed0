"""Vertebrae are counted; they get level names only where the user gives one."""

import pytest

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.measure.vertebrae.levels import checked_level, names_of, too_many


def test_without_a_level_vertebrae_are_counted_from_the_top_or_the_bottom() -> None:
    assert names_of(3) == ["vertebra 1", "vertebra 2", "vertebra 3"]
    assert names_of(3, from_bottom=True) == ["vertebra 3", "vertebra 2", "vertebra 1"]


def test_with_the_top_level_names_run_down_the_spine() -> None:
    assert names_of(4, "C6") == ["C6", "C7", "T1", "T2"]
    assert names_of(3, "T11") == ["T11", "T12", "L1"]


def test_below_the_last_lumbar_vertebra_no_name_is_made_up() -> None:
    assert names_of(4, "L4") == ["L4", "L5", "vertebra 1 beyond L5", "vertebra 2 beyond L5"]


def test_a_level_is_understood_in_small_letters() -> None:
    assert checked_level(" t5 ") == "T5"
    assert checked_level(None) is None


@pytest.mark.parametrize(("level", "why"), [("T14", "no such level"), ("x", "no such level"), ("C1", "no body")])
def test_what_is_no_level_is_refused(level: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        checked_level(level)


def test_c1_counts_where_each_vertebra_has_its_value() -> None:
    assert checked_level("c1", numbered=True) == "C1"
    assert names_of(3, "C1") == ["C1", "C2", "C3"]


def test_more_vertebrae_than_levels_are_doubted() -> None:
    assert too_many(5, "L1") is None
    assert too_many(24, "C1") is None
    warning = too_many(6, "L1")
    assert warning is not None
    assert "6 vertebrae are more than there are from L1 to L5" in warning
