"""Figures of an experiment: what its results hold, put before the plots of `radseg.pipelines.report.plots`."""

from collections.abc import Sequence

from radseg.pipelines.experiments.cells import NAMES, fold_name, title_of
from radseg.pipelines.experiments.paper import paper_of, published, published_difference, published_parameters
from radseg.pipelines.experiments.results import Results, Run, Variant
from radseg.pipelines.experiments.scores import TESTED, Comparison, baseline_of, case_values, over_folds
from radseg.pipelines.report.plots import difference_bars, fold_boxes, training_curves
from radseg.pipelines.report.plots import parameters_against as plot_parameters_against
from radseg.pipelines.report.plots.bland_altman import Sizes
from radseg.pipelines.report.plots.bland_altman import bland_altman as plot_bland_altman
from radseg.pipelines.report.plots.difference_bars import Difference
from radseg.pipelines.report.plots.fold_boxes import FoldScores
from radseg.pipelines.report.plots.look import Form, short
from radseg.pipelines.report.plots.parameters_against import Network
from radseg.pipelines.report.plots.sizes import pairs_of
from radseg.pipelines.report.plots.training_curves import Training


def curves(variant: Variant, form: Form = "png") -> bytes | None:
    """Loss and validation Dice by epoch, a line a fold; the epoch whose weights were tested is marked.

    Returns:
        None if no run has a history.
    """
    return training_curves(
        [Training(f"fold {run.fold}", run.fold, run.history, run.best_epoch) for run in variant.runs], form
    )


def boxes(results: Results, metric: str = TESTED, form: Form = "png") -> bytes | None:
    """Cases of each fold as boxes, folds from top to bottom, variant below variant, a panel a label.

    Returns:
        None if no run is done.
    """
    done = [(variant.name, run) for variant in results.variants for run in variant.runs if run.done and run.rows]
    panels = {
        f"{title_of(metric)}{_of(results, label)}, case by case": [
            FoldScores(name, run.fold, [one for one in case_values(run, label, metric) if one is not None])
            for name, run in done
        ]
        for label in results.labels
    }
    return fold_boxes(panels, {run.fold: fold_name(results, run.fold) for _, run in done}, form)


def differences(results: Results, found: Sequence[Comparison], form: Form = "png") -> bytes | None:
    """Each variant's difference to the baseline as a bar with its 95 % interval, a panel a label.

    The paper's difference, where it gives one, is an open diamond.

    Returns:
        None if nothing can be compared.
    """
    panels = {
        f"Δ {NAMES[TESTED]}{_of(results, label)} to {short(results.baseline)}": [
            Difference(
                one.variant,
                one.difference,
                None if one.interval is None else (one.interval.low, one.interval.high),
                published_difference(paper_of(results, label), one.variant, results.baseline, TESTED),
            )
            for one in found
            if one.label == label
        ]
        for label in results.labels
    }
    return difference_bars(panels, form)


def parameters_against(results: Results, metric: str = "iou", form: Form = "png") -> bytes | None:
    """Each variant's mean metric over folds (bars: ± sd) against its parameters, the paper's as open diamonds.

    Parameters are those in total, as papers count them; trained ones where a run doesn't say. The paper's score stands
    at the paper's own number of parameters, if it gives one.

    Returns:
        None unless variants of at least two numbers of parameters were scored.
    """
    panels = {}
    in_total = parameters_in_total(results)
    for label in results.labels:
        mine = panels[f"{title_of(metric)}{_of(results, label)}, mean over folds"] = list[Network]()
        for variant in results.variants:
            ours = over_folds(variant, label, metric)
            count = variant.total_parameters if in_total else variant.parameters
            if ours.mean is not None and count is not None:
                paper = paper_of(results, label)
                theirs = published(paper, variant.name, metric), published_parameters(paper, variant.name)
                mine.append(Network(variant.name, count, ours.mean, ours.sd, *theirs))
    return plot_parameters_against(panels, form)


def parameters_in_total(results: Results) -> bool:
    """Whether every network's number of all parameters is known."""
    return all(variant.total_parameters is not None for variant in results.variants)


def bland_altman(results: Results, form: Form = "png") -> bytes | None:
    """Volumes (of radiographs areas) that the baseline found against the truth, folds together, a panel a label.

    Returns:
        None if no label has three cases whose size is known.
    """
    baseline = baseline_of(results)
    runs = [run for run in baseline.runs if run.done] if baseline is not None else []
    panels = [panel for label in results.labels if (panel := _sizes(results, runs, label)) is not None]
    return plot_bland_altman(panels, form)


def _sizes(results: Results, runs: Sequence[Run], label: str) -> Sizes | None:
    """A label's sizes in all folds, in one unit."""
    rows = [(run.fold, row) for run in runs for row in run.rows if row.label == label]
    whole = pairs_of((row.truth, row.prediction) for _, row in rows)
    if whole is None:
        return None
    groups = {}
    for fold in dict.fromkeys(fold for fold, _ in rows):
        found = pairs_of(((row.truth, row.prediction) for of, row in rows if of == fold), whole.name)
        groups[fold_name(results, fold)] = found.pairs if found is not None else ()
    return Sizes(label, whole.unit, groups, whole.left_out)


def _of(results: Results, label: str) -> str:
    return f" of {label}" if len(results.labels) > 1 else ""
