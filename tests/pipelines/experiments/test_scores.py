"""Folds are averaged as they are, cases paired with themselves, and what is missing is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_results import made_up

from radseg.pipelines.experiments.results import Results, Row, Run, Variant
from radseg.pipelines.experiments.scored_items import patients_of, scored_items
from radseg.pipelines.experiments.scores import comparisons, fold_mean, metric_names, over_folds, shortfalls


def scored(*folds: dict[str, float | None]) -> tuple[Run, ...]:
    """Runs with the Dice of each case, a dictionary a fold."""
    return tuple(
        Run(
            number,
            f"v/fold_{number}",
            "done",
            rows=tuple(Row(case, "lesion", {"dice": dice}) for case, dice in fold.items()),
        )
        for number, fold in enumerate(folds)
    )


def of(**variants: tuple[Run, ...]) -> Results:
    empty = made_up({"baseline": 0.5}, folds=2, cases=1)
    return replace(
        empty, baseline="base", variants=tuple(Variant(name, {}, None, runs) for name, runs in variants.items())
    )


def test_a_folds_value_is_the_mean_of_its_defined_cases() -> None:
    runs = scored({"a": 0.5, "b": None, "c": 0.7}, {"d": 0.9})
    assert fold_mean(runs[0], "lesion", "dice") == pytest.approx(0.6)
    assert fold_mean(runs[0], "another", "dice") is None
    found = over_folds(Variant("v", {}, None, runs), "lesion", "dice")
    assert (found.mean, found.count) == (pytest.approx(0.75), 2)


def test_pooled_dice_counts_voxels_not_cases() -> None:
    rows = [
        Row("large", "lesion", {"dice": 0.9, "voxels_truth": 600, "voxels_prediction": 400}),  # 450 voxels right
        Row("small", "lesion", {"dice": 0.1, "voxels_truth": 10, "voxels_prediction": 10}),  # 1 voxel right
        Row("empty", "lesion", {"dice": 1.0, "voxels_truth": 0, "voxels_prediction": 0}),
        Row("small", "other", {"dice": None, "voxels_truth": 0, "voxels_prediction": 0}),
    ]
    run = Run(0, "v/fold_0", "done", rows=tuple(rows))
    assert fold_mean(run, "lesion", "pooled_dice") == pytest.approx(2 * 451 / 1020)
    assert fold_mean(run, "lesion", "dice") == pytest.approx(2 / 3)
    assert fold_mean(run, "other", "pooled_dice") is None
    assert metric_names(of(base=(run,))) == ["dice", "pooled_dice"]
    assert metric_names(of(base=scored({"a": 0.5}))) == ["dice"]


def test_a_failed_run_has_no_score() -> None:
    failed = replace(scored({"a": 0.5})[0], status="failed")
    assert fold_mean(failed, "lesion", "dice") is None
    assert over_folds(Variant("v", {}, None, (failed,)), "lesion", "dice").count == 0


def test_cases_are_paired_by_fold_and_name_whatever_their_order() -> None:
    found = comparisons(
        of(base=scored({"a": 0.5, "b": 0.6}, {"a": 0.7}), other=scored({"b": 0.7, "a": 0.5}, {"a": 0.6, "new": 0.1}))
    )
    # fold 0: a ± 0, b + 0.1; fold 1: its own a − 0.1; "new" has no partner
    assert [(one.variant, one.pairs, one.test.nonzero) for one in found] == [("other", 3, 2)]
    assert found[0].difference == pytest.approx(0.0)
    assert found[0].interval is not None


def test_two_cases_of_one_name_are_paired_in_their_order() -> None:
    def twice(first: float, second: float) -> tuple[Run, ...]:
        rows = tuple(Row("ct", "lesion", {"dice": dice}) for dice in (first, second))
        return (Run(0, "v/fold_0", "done", rows=rows),)

    found = comparisons(of(base=twice(0.2, 0.8), other=twice(0.3, 0.9)))
    assert (found[0].pairs, found[0].difference) == (2, pytest.approx(0.1))


def test_only_folds_that_both_finished_are_compared() -> None:
    base, other = scored({"a": 0.5}, {"b": 0.5}), scored({"a": 0.9}, {"b": 0.6})
    found = comparisons(of(base=base, other=(replace(other[0], status="failed"), other[1])))
    assert (found[0].pairs, found[0].difference) == (1, pytest.approx(0.1))
    assert found[0].interval is None


def test_without_a_baseline_or_pairs_nothing_is_claimed() -> None:
    assert comparisons(of(other=scored({"a": 0.5}))) == []
    found = comparisons(of(base=scored({"a": 0.5}), other=scored({"z": 0.5})))
    assert (found[0].pairs, found[0].difference, found[0].interval, found[0].p_holm) == (0, None, None, None)


def test_holms_correction_is_over_all_variants_and_labels() -> None:
    results = made_up({"full": 0.8, "a": 0.7, "b": 0.799}, labels=["one", "two"])
    found = comparisons(results)
    assert [(one.variant, one.label) for one in found] == [("a", "one"), ("a", "two"), ("b", "one"), ("b", "two")]
    smallest = min(found, key=lambda one: one.test.p or 0)
    assert smallest.test.p is not None
    assert smallest.p_holm == pytest.approx(4 * smallest.test.p)


def test_patients_make_intervals_honest() -> None:
    results = made_up({"full": 0.8, "less": 0.75}, cases=12)
    runs = results.variants[0].runs
    patients = {(run.fold, row.case, 0): f"p{run.fold}" for run in runs for row in run.rows}
    alone, together = comparisons(results)[0], comparisons(results, patients)[0]
    assert (alone.pairs, alone.units) == (60, 60)
    assert (together.pairs, together.units) == (60, 5)
    assert alone.difference == together.difference
    assert together.test.p is not None
    assert together.test.p >= 2 / 2**5 > (alone.test.p or 1)


def test_what_is_missing_is_said_in_words() -> None:
    results = made_up({"full": 0.8, "less": 0.7}, failed={("less", 1): "out of memory"}, missing=[("less", 3)])
    noted = replace(results.variants[0].runs[2], notes=("no case of this fold holds 'lesion'",))
    first = replace(results.variants[0], runs=(*results.variants[0].runs[:2], noted))
    said = shortfalls(replace(results, variants=(first, results.variants[1])))
    assert said == [
        "full: fold 3, 4 not run",
        "less: fold 3 not run",
        "less: fold 1 failed: out of memory",
        "no case of this fold holds 'lesion' (fold of full 2)",
    ]


def test_the_patients_of_cases_come_from_the_folds_datalists(tmp_path: Path) -> None:
    results = made_up({"full": 0.8}, folds=2, cases=2)
    assert patients_of(results, tmp_path) == {}
    (tmp_path / "folds").mkdir()
    items = [{"image": "x.png", "patient": 7}, {"image": "y.png"}]
    (tmp_path / "folds" / "fold_0.json").write_text(json.dumps({"test": items}))
    (tmp_path / "folds" / "fold_1.json").write_text(json.dumps({"test": items[:1]}))  # not those that were scored
    assert patients_of(results, tmp_path) == {(0, "case_0_0", 0): "7"}
    runs = results.variants[0].runs
    assert scored_items(runs[0], "lesion", tmp_path) == {(0, "case_0_0", 0): 0, (0, "case_0_1", 0): 1}
    assert scored_items(runs[1], "lesion", tmp_path) == {}
