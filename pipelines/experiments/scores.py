"""What results say of folds, of variants, and of pairs of cases; every table and figure takes its numbers from here."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from radseg.pipelines.experiments.cells import counted
from radseg.pipelines.experiments.results import Results, Row, Run, Variant
from radseg.pipelines.experiments.statistics import (
    Interval,
    SignedRank,
    Spread,
    holm,
    paired_bootstrap,
    signed_rank,
    spread,
)

TESTED = "dice"
"""The metric that variants are compared by."""

POOLED = "pooled_dice"
"""Dice over the voxels of all cases of a fold together, to which a large lesion counts more than a small one."""

_COUNTS = ("voxels_truth", "voxels_prediction")

Case = tuple[int, str, int]
"""A case that was tested: its fold, its name, and which of that name it is in the fold."""


@dataclass(frozen=True)
class Comparison:
    """A variant against the baseline, on the cases that both were scored on.

    Attributes:
        variant: its name.
        label: the label that was scored.
        pairs: cases scored in the same fold of both.
        units: patients that these cases are of; the number of cases where patients aren't known.
        difference: mean over the cases, variant − baseline; None without a pair.
        interval: 95 % paired bootstrap interval of the difference, of whole patients; None with fewer than two.
        test: Wilcoxon's signed-rank test, a pair a patient.
        p_holm: its p after Holm's correction over all comparisons of the experiment.
    """

    variant: str
    label: str
    pairs: int
    units: int
    difference: float | None
    interval: Interval | None
    test: SignedRank
    p_holm: float | None


def metric_names(results: Results) -> list[str]:
    """Metrics that a row has, in the order of the rows, counts of voxels left out; then what a fold as a whole has."""
    rows = (row for variant in results.variants for run in variant.runs for row in run.rows)
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    of_a_fold = [POOLED] if {TESTED, *_COUNTS} <= names.keys() else []
    return [name for name in names if name not in _COUNTS] + of_a_fold


def case_values(run: Run, label: str, metric: str) -> list[float | None]:
    """The metric of each case of a fold, None where it is undefined; empty for a run that failed."""
    return [row.metrics.get(metric) for row in run.rows if row.label == label] if run.done else []


def fold_mean(run: Run, label: str, metric: str) -> float | None:
    """Mean over the cases of a fold in which the metric is defined, or the pooled Dice; None if there is none."""
    if metric == POOLED:
        return _pooled(run, label)
    return spread(case_values(run, label, metric)).mean


def _pooled(run: Run, label: str) -> float | None:
    """From each case's Dice and voxel counts, since Dice = 2 TP / (voxels of truth + voxels of prediction)."""
    twice_right = voxels = 0.0
    for row in run.rows if run.done else ():
        if row.label == label and (dice := row.metrics.get(TESTED)) is not None:
            both = sum(row.metrics.get(name) or 0.0 for name in _COUNTS)
            twice_right, voxels = twice_right + dice * both, voxels + both
    return twice_right / voxels if voxels else None


def over_folds(variant: Variant, label: str, metric: str) -> Spread:
    """Mean and standard deviation of the folds' means, over the folds that are done."""
    return spread([fold_mean(run, label, metric) for run in variant.runs if run.done])


def baseline_of(results: Results) -> Variant | None:
    """The variant that others are compared with, if it is there."""
    return next((variant for variant in results.variants if variant.name == results.baseline), None)


def comparisons(results: Results, patients: Mapping[Case, str] | None = None, metric: str = TESTED) -> list[Comparison]:
    """Each other variant against the baseline, label by label; cases are paired by fold, name and label.

    Args:
        results: of an experiment; its seed is the bootstrap's.
        patients: of each case; cases that it doesn't hold count as patients of their own.
        metric: that is compared.
    """
    baseline = baseline_of(results)
    if baseline is None:
        return []
    found = []
    for variant in (variant for variant in results.variants if variant is not baseline):
        for label in results.labels:
            ours, theirs = _defined(variant, label, metric), _defined(baseline, label, metric)
            both = [case for case in ours if case in theirs]
            differences = [ours[case] - theirs[case] for case in both]
            groups: list[Hashable] = [(patients or {}).get(case, case) for case in both]
            found.append(
                Comparison(
                    variant=variant.name,
                    label=label,
                    pairs=len(both),
                    units=len(set(groups)),
                    difference=float(np.mean(differences)) if differences else None,
                    interval=paired_bootstrap(differences, groups, results.seed),
                    test=signed_rank(differences, groups),
                    p_holm=None,
                )
            )
    adjusted = holm([one.test.p for one in found])
    return [replace(one, p_holm=p) for one, p in zip(found, adjusted, strict=True)]


def shortfalls(results: Results) -> list[str]:
    """What isn't there, a sentence each: folds that failed or weren't run, and what runs note about their scores."""
    said, noted = [], defaultdict(list)
    for variant in results.variants:
        runs = {run.fold: run for run in variant.runs}
        missing = [str(fold) for fold in range(results.dataset.folds) if fold not in runs]
        if missing:
            said.append(f"{variant.name}: fold {', '.join(missing)} not run")
        for fold, run in sorted(runs.items()):
            if not run.done:
                said.append(f"{variant.name}: fold {fold} failed: {run.error or 'no reason recorded'}")
            for note in run.notes:
                noted[note].append(f"{variant.name} {fold}")
    return said + [f"{note} (fold of {', '.join(where)})" for note, where in noted.items()]


def unfinished(results: Results) -> str:
    """How much of an experiment there is, such as "2 of 5 folds done", while it isn't all; "" of a whole one."""
    done = sum(run.done for variant in results.variants for run in variant.runs)
    wanted = len(results.variants) * results.dataset.folds
    of = counted(wanted, "fold" if len(results.variants) == 1 else "run")
    return "" if done == wanted else f"{done} of {of} done"


def rows_by_case(run: Run, label: str) -> list[tuple[Case, Row]]:
    """The rows of one label in the order in which the cases were tested; none of a run that failed."""
    seen: Counter[str] = Counter()
    found = []
    for row in run.rows if run.done else ():
        if row.label == label:
            found.append(((run.fold, row.case, seen[row.case]), row))
            seen[row.case] += 1
    return found


def _defined(variant: Variant, label: str, metric: str) -> dict[Case, float]:
    """The metric of each case in which it is defined, over all folds."""
    values = ((case, row.metrics.get(metric)) for run in variant.runs for case, row in rows_by_case(run, label))
    return {case: value for case, value in values if value is not None}
