"""The tables of an experiment as plain text cells, which the page and the model card set each in its own way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from radseg.pipelines.experiments.absent_labels import marked, said_of_absent
from radseg.pipelines.experiments.cells import (
    NAMES,
    NOTHING,
    counted,
    fold_name,
    mean_sd,
    memory,
    number,
    p_value,
    parameters,
    seconds,
    signed,
)
from radseg.pipelines.experiments.distance_unit import heading, said_of_unit
from radseg.pipelines.experiments.origins import commits, machines
from radseg.pipelines.experiments.paper import (
    paper_of,
    published,
    published_difference,
    published_metrics,
    published_parameters,
)
from radseg.pipelines.experiments.results import Results, Run, Variant
from radseg.pipelines.experiments.scores import (
    POOLED,
    TESTED,
    Comparison,
    case_values,
    fold_mean,
    metric_names,
    over_folds,
)
from radseg.pipelines.experiments.statistics import spread


@dataclass(frozen=True)
class Table:
    """Cells of a table, not yet escaped for any form.

    Attributes:
        title: says what it holds.
        groups: heads above the heads, each with the number of columns that it spans; they cover the columns after the
            first.
        heads: of the columns; the first is that of the row heads.
        rows: cells, the first the row's head.
        summary: how many rows at the end sum the others up.
        note: how to read it, a sentence or more.
        marks: what the daggers in it mean, a sentence each.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[str, int], ...] = ()
    summary: int = 0
    note: str = ""
    marks: tuple[str, ...] = ()


@dataclass
class _Columns:
    """Columns as they are gathered, some under a common head."""

    groups: list[tuple[str, int]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    def add(self, group: str, heads: Sequence[str]) -> None:
        self.groups.append((group, len(heads)))
        self.heads += heads


def fold_tables(results: Results, variant: Variant) -> list[Table]:
    """Of each label, a row a fold and mean ± sd: the metrics that the paper has with its column beside, then the rest.

    A paper's numbers stand by the label that its "label" names, by every label if it names none.
    """
    tables = []
    for label in results.labels:
        paper = paper_of(results, label)
        shared = [name for name in metric_names(results) if name in published_metrics(paper)]
        rest = [name for name in metric_names(results) if name not in shared]
        of = f" of {label}" if len(results.labels) > 1 else ""
        if shared:
            tables.append(
                _by_fold(f"Scores{of} by fold, the paper's beside ours", results, variant, label, shared, paper)
            )
        if rest:
            title = f"{'Further scores' if shared else 'Scores'}{of} by fold"
            tables.append(_by_fold(title, results, variant, label, rest, None))
    return tables


def variant_table(results: Results) -> Table:
    """A row a variant: parameters, mean ± sd over folds of Dice, IoU and what the paper has, its numbers beside."""
    names = metric_names(results)
    theirs = published_metrics(results.paper)
    columns = _Columns()
    counted_by_paper = any(published_parameters(results.paper, one.name) is not None for one in results.variants)
    columns.add("Parameters", ["trained", "total", *(["paper, total"] if counted_by_paper else [])])
    columns.add("", ["Folds"])
    kept: list[tuple[str, str | None]] = []  # metric and label, or no label for the paper's
    for name in [*(name for name in names if name in ("dice", "iou") or name in theirs), *theirs]:
        if any(name == done for done, _ in kept):
            continue
        mine = [(name, label) for label in (results.labels if name in names else ())]
        paper = [(name, None)] if name in theirs else []
        # beside the label that it is of
        last = next((place for place, (_, label) in enumerate(mine) if _only_of(results, label)), len(mine) - 1) + 1
        both = [*mine[:last], *paper, *mine[last:]]
        kept += both
        columns.add(heading(results, name), ["paper" if label is None else _ours(results, label) for _, label in both])
    rows = []
    for variant in results.variants:
        sizes = [parameters(variant.parameters), parameters(variant.total_parameters)]
        sizes += [parameters(published_parameters(results.paper, variant.name))] if counted_by_paper else []
        cells = (
            number(published(results.paper, variant.name, name), name)
            if label is None
            else marked(mean_sd(over_folds(variant, label, name), name), variant.runs, label)
            for name, label in kept
        )
        rows.append((variant.name, *sizes, _folds(results, variant), *cells))
    note = (
        f"Mean ± standard deviation of the folds' means. The baseline is {results.baseline}. "
        "Parameters in total include the means and variances of batch norms, as Keras counts."
    )
    return Table(
        title="Scores of each variant, the paper's beside ours" if theirs else "Scores of each variant",
        groups=tuple(columns.groups),
        heads=("Variant", *columns.heads),
        rows=tuple(rows),
        note=note + _unlabelled(results),
        marks=tuple(said_of_absent(results, results.variants, results.labels)),
    )


def difference_table(results: Results, found: Sequence[Comparison]) -> Table:
    """A row a variant and label: the difference to the baseline with its interval and p."""
    rows = []
    for one in found:
        theirs = published_difference(paper_of(results, one.label), one.variant, results.baseline, TESTED)
        interval = one.interval
        rows.append(
            (
                _row_head(results, one.variant, one.label),
                f"{one.pairs} / {one.units}",
                signed(one.difference),
                NOTHING if interval is None else f"{signed(interval.low)} … {signed(interval.high)}",
                p_value(one.test.p),
                p_value(one.p_holm),
                *([signed(theirs)] if results.paper else []),
            )
        )
    heads = ("Variant", "Cases / patients", f"Δ {NAMES[TESTED]}", "95 % interval", "p", "p, Holm")
    return Table(
        title="Difference to the baseline",
        heads=(*heads, *(["Δ in the paper"] if results.paper else [])),
        rows=tuple(rows),
        note=_how_compared(results, found),
    )


def _how_compared(results: Results, found: Sequence[Comparison]) -> str:
    """What the columns of the differences are, and what they can't tell."""
    said = [
        f"Difference of the mean {NAMES[TESTED]} to {results.baseline}, over cases scored in the same fold of both.",
        "95 % percentile interval of 10,000 paired bootstrap resamples; Wilcoxon's signed-rank test, two-sided; "
        f"Holm's correction for the {counted(sum(one.test.p is not None for one in found), 'test')} of this table.",
    ]
    if any(one.units < one.pairs for one in found):
        said.append("Cases of one patient are drawn together, and averaged for the test.")
    elif results.dataset.patients < results.dataset.cases:
        said.append("Each case counts as a patient of its own, so that intervals are too narrow and p too small.")
    few = sum(one.test.smallest is not None and one.test.smallest > 0.05 for one in found)
    if few:
        said.append(
            f"With fewer than 6 differing pairs p can't fall below .05 ({few} of {len(found)} rows): "
            "there the test can't tell anything, and an interval leaves out 0 as soon as all have one sign."
        )
    if any(one.pairs and not one.test.nonzero for one in found):
        said.append("p is 1 where no case differs.")
    if any(one.interval is None for one in found):
        said.append("A single patient has no interval.")
    return " ".join(said)


def variants_by_fold(results: Results) -> list[Table]:
    """Of each label, mean Dice of each fold, a row a variant."""
    folds = range(results.dataset.folds)
    tables = []
    for label in results.labels:
        rows = []
        for variant in results.variants:
            runs = {run.fold: run for run in variant.runs}
            cells = (_cell(runs.get(fold), label, TESTED) for fold in folds)
            mean = marked(mean_sd(over_folds(variant, label, TESTED), TESTED), variant.runs, label)
            rows.append((variant.name, *cells, mean))
        of = f" of {label}" if len(results.labels) > 1 else ""
        heads = ("Variant", *(fold_name(results, fold) for fold in folds), "Mean ± sd")
        marks = tuple(said_of_absent(results, results.variants, [label]))
        tables.append(Table(f"{NAMES[TESTED]}{of} by fold", heads, tuple(rows), marks=marks))
    return tables


def further_tables(results: Results) -> list[Table]:
    """Of each label, mean ± sd of the metrics that `variant_table` leaves out."""
    left = [name for name in metric_names(results) if name not in ("dice", "iou", *published_metrics(results.paper))]
    tables = []
    for label in results.labels if left else ():
        rows = [
            (
                marked(variant.name, variant.runs, label),
                *(mean_sd(over_folds(variant, label, name), name) for name in left),
            )
            for variant in results.variants
        ]
        of = f" of {label}" if len(results.labels) > 1 else ""
        heads = ("Variant", *(heading(results, name) for name in left))
        note = "Mean ± standard deviation of the folds' means." + said_of_unit(results, left)
        marks = tuple(said_of_absent(results, results.variants, [label]))
        tables.append(Table(f"Further scores{of} by variant", heads, tuple(rows), note=note, marks=marks))
    return tables


def cost_table(results: Results) -> Table:
    """A row a run: how it ended, epochs, seconds, memory; its commit and machine where they aren't all the same."""
    rows = []
    several = len({run.origins for run in results.runs}) > 1
    for variant in results.variants:
        for run in sorted(variant.runs, key=lambda run: run.fold):
            rows.append(
                (
                    *([variant.name] if len(results.variants) > 1 else []),
                    fold_name(results, run.fold),
                    run.status,
                    NOTHING if run.best_epoch is None else f"{run.best_epoch} of {run.epochs}",
                    seconds(run.seconds.get("train")),
                    seconds(run.seconds.get("evaluate")),
                    memory(run.peak_memory_bytes),
                    memory(run.peak_gpu_memory_bytes),
                    *([commits([run]), machines([run])] if several else []),
                )
            )
    head = ("Variant", "Fold") if len(results.variants) > 1 else ("Fold",)
    where = ("Commit", "Machine") if several else ()
    return Table(
        title="What each run took",
        heads=(*head, "Status", "Best epoch", "Training", "Evaluation", "Peak memory", "Peak GPU memory", *where),
        rows=tuple(rows),
        note="Wall clock; memory of the run's own process. The best epoch is the one whose weights were tested.",
    )


def _by_fold(
    title: str, results: Results, variant: Variant, label: str, names: Sequence[str], paper: Mapping[str, Any] | None
) -> Table:
    runs = {run.fold: run for run in variant.runs}
    theirs = list((paper or {}).get("folds") or [])
    columns = _Columns()
    columns.add("", ["Cases"])
    for name in names:
        columns.add(heading(results, name) if paper else "", ["ours", "paper"] if paper else [heading(results, name)])
    rows = []
    for fold in range(results.dataset.folds):
        run = runs.get(fold)
        head = marked(fold_name(results, fold), [run] if run else [], label)
        row = [head, str(len(case_values(run, label, TESTED))) if run and run.done else NOTHING]
        for name in names:
            row.append(_cell(run, label, name))
            row += [number(theirs[fold].get(name) if fold < len(theirs) else None, name)] if paper else []
        rows.append(tuple(row))
    cases = sum(len(case_values(run, label, TESTED)) for run in variant.runs)
    mean, sd = [marked("Mean", variant.runs, label), str(cases)], [marked("± sd", variant.runs, label), ""]
    for name in names:
        ours, published_ones = over_folds(variant, label, name), spread([fold.get(name) for fold in theirs])
        mean.append(number(ours.mean, name))
        sd.append(number(ours.sd, name))
        if paper:
            mean.append(number((paper.get("mean") or {}).get(name, published_ones.mean), name))
            sd.append(number(published_ones.sd, name))
    note = "A fold's value is the mean over its cases."
    if POOLED in names:
        note += " Pooled Dice is that of all its voxels together."
    note += said_of_unit(results, names)
    if theirs:
        note += (
            " The paper's folds aren't ours: what can be looked at side by side are the means. "
            "The paper's sd is computed here from its folds."
        )
    return Table(
        title, ("Fold", *columns.heads), (*rows, tuple(mean), tuple(sd)), tuple(columns.groups),
        summary=2, note=note + (_unlabelled(results) if paper else ""),
        marks=tuple(said_of_absent(results, [variant], [label])),
    )  # fmt: skip


def _cell(run: Run | None, label: str, metric: str) -> str:
    return "not run" if run is None else number(fold_mean(run, label, metric), metric) if run.done else run.status


def _folds(results: Results, variant: Variant) -> str:
    done, wanted = sum(run.done for run in variant.runs), results.dataset.folds
    return str(done) if done == wanted else f"{done} of {wanted}"


def _row_head(results: Results, variant: str, label: str) -> str:
    return f"{variant}: {label}" if len(results.labels) > 1 else variant


def _ours(results: Results, label: str) -> str:
    return label if len(results.labels) > 1 else "ours"


def _only_of(results: Results, label: str) -> bool:
    return results.paper is not None and results.paper.get("label") == label


def _unlabelled(results: Results) -> str:
    """A sentence on papers that don't say what their numbers are of, where there is a choice."""
    if results.paper is None or len(results.labels) < 2 or "label" in results.paper:
        return ""
    return " The paper's numbers don't say of which of our labels they are."
