"""Splits: all images in, no patient on two sides, the same every time, shares as the papers have them."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.splits import fold_groups, shares, split_groups

ratios = st.lists(st.integers(1, 100), min_size=1, max_size=4)
groups = st.dictionaries(st.text(max_size=6), st.integers(1, 30), min_size=4, max_size=40)
seeds = st.integers(0, 2**32)


@pytest.mark.parametrize(
    ("count", "ratios", "expected"),
    [
        (100, (70, 10, 20), (70, 10, 20)),
        (2729, (80, 20), (2183, 546)),
        (3616, (70, 20, 10), (2531, 723, 362)),
        (10, (0.7, 0.1, 0.2), (7, 1, 2)),
        (10, (80, 0, 20), (8, 0, 2)),
        (3, (98, 1, 1), (1, 1, 1)),
        (0, (70, 10, 20), (0, 0, 0)),
    ],
)
def test_shares_are_those_of_the_papers(count: int, ratios: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert shares(count, ratios) == expected


@given(st.integers(0, 5000), ratios)
def test_shares_add_up_and_stay_within_one_image(count: int, ratios: list[int]) -> None:
    whole = shares(count, ratios)
    assert sum(whole) == count
    if count * min(ratios) >= sum(ratios):  # no side had to be given its first image
        assert all(abs(got - count * ratio / sum(ratios)) < 1 for got, ratio in zip(whole, ratios, strict=True))
    if count >= len(ratios):
        assert min(whole) >= 1


@pytest.mark.parametrize("wrong", [(), (0, 0), (-1, 2), (float("nan"), 1), (float("inf"), 1)])
def test_ratios_that_make_no_sense_are_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="give numbers from 0 up"):
        shares(10, wrong)


@settings(deadline=None)
@given(groups, ratios, seeds)
def test_every_group_is_on_one_side_and_no_side_is_empty(sizes: dict[str, int], ratios: list[int], seed: int) -> None:
    sides = split_groups(sizes, ratios, seed)
    assert sides.keys() == sizes.keys()
    assert set(sides.values()) == set(range(len(ratios)))


@settings(deadline=None)
@given(groups, ratios, seeds, st.integers())
def test_the_order_of_the_files_changes_nothing(sizes: dict[str, int], ratios: list[int], seed: int, mix: int) -> None:
    mixed = list(sizes.items())
    random.Random(mix).shuffle(mixed)
    assert split_groups(dict(mixed), ratios, seed) == split_groups(sizes, ratios, seed)
    assert fold_groups(dict(mixed), 3, seed) == fold_groups(sizes, 3, seed)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=60, max_size=120), seeds)
def test_a_side_differs_from_its_share_by_less_than_the_largest_patient(counts: list[int], seed: int) -> None:
    sizes = {f"p{number}": count for number, count in enumerate(counts)}
    held: Counter[int] = Counter()
    for group, side in split_groups(sizes, (70, 10, 20), seed).items():
        held[side] += sizes[group]
    for side, share in enumerate(shares(sum(counts), (70, 10, 20))):
        assert abs(held[side] - share) < max(counts)


def test_single_images_are_split_exactly() -> None:
    sizes = dict.fromkeys((f"{number}.png" for number in range(100)), 1)
    assert Counter(split_groups(sizes, (70, 10, 20), 0).values()) == {0: 70, 1: 10, 2: 20}


def test_another_seed_makes_another_split() -> None:
    sizes = dict.fromkeys((f"{number}.png" for number in range(100)), 1)
    assert split_groups(sizes, (70, 10, 20), 0) != split_groups(sizes, (70, 10, 20), 1)


def test_a_split_stays_the_same_over_the_years() -> None:
    # by value: a split that moved with a library would spoil every comparison with older weights
    sizes = {"anna": 5, "bert": 3, "carl": 1, "dora": 4, "emil": 2, "fred": 5}
    assert split_groups(sizes, (50, 25, 25), 0) == {"anna": 0, "bert": 2, "carl": 0, "dora": 0, "emil": 2, "fred": 1}
    assert fold_groups(sizes, 2, 0) == {"anna": 0, "bert": 1, "carl": 0, "dora": 0, "emil": 1, "fred": 1}


def test_large_patients_train_and_test_too() -> None:
    sizes = {f"p{number}": 90 if number < 20 else 10 for number in range(70)}
    test = [split_groups(sizes, (80, 20), seed) for seed in range(5)]
    assert all(any(sides[f"p{number}"] == 1 for number in range(20)) for sides in test)


@settings(deadline=None)
@given(groups, st.integers(2, 4), seeds)
def test_folds_hold_every_patient_once_and_none_is_empty(sizes: dict[str, int], folds: int, seed: int) -> None:
    fold_of = fold_groups(sizes, folds, seed)
    assert fold_of.keys() == sizes.keys()
    held: Counter[int] = Counter()
    for group, fold in fold_of.items():
        held[fold] += sizes[group]
    assert set(held) == set(range(folds))
    assert max(held.values()) - min(held.values()) <= 2 * max(sizes.values())


def test_folds_of_the_paper_are_equal_to_one_slice() -> None:
    fold_of = fold_groups(dict.fromkeys((f"{number}.png" for number in range(2183)), 1), 5, 0)
    assert sorted(Counter(fold_of.values()).values()) == [436, 436, 437, 437, 437]


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(InputError, match="2 patients or images can't fill 3 sides"):
        split_groups({"a": 9, "b": 9}, (70, 10, 20), 0)
    with pytest.raises(InputError, match="3 patients or images can't fill 5 folds; ask for at most 3"):
        fold_groups({"a": 1, "b": 1, "c": 1}, 5, 0)
    with pytest.raises(ConfigError, match="needs at least 2"):
        fold_groups({"a": 1, "b": 1}, 1, 0)
