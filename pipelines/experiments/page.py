"""An experiment as one page that holds all it shows: tables beside the paper's, figures, worst cases, what it cost."""

import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from radseg.pipelines.experiments import figures
from radseg.pipelines.experiments.absent_labels import marked, said_of_absent
from radseg.pipelines.experiments.cells import NAMES, counted, mean_sd, seconds, title_of
from radseg.pipelines.experiments.on_what import on_what, said_on
from radseg.pipelines.experiments.origins import mixed
from radseg.pipelines.experiments.page_parts import (
    card_html,
    figures_html,
    image_html,
    table_html,
    whole_page,
    write_index,
)
from radseg.pipelines.experiments.results import Results
from radseg.pipelines.experiments.scored_items import patients_of
from radseg.pipelines.experiments.scores import (
    TESTED,
    Comparison,
    baseline_of,
    comparisons,
    over_folds,
    shortfalls,
    unfinished,
)
from radseg.pipelines.experiments.tables import (
    cost_table,
    difference_table,
    fold_tables,
    further_tables,
    variant_table,
    variants_by_fold,
)
from radseg.pipelines.experiments.worst_cases import FOLDER, Drawn, read_worst_cases
from radseg.pipelines.report.plots import Form

_FOOTER = (
    "Every number of every case is in results.csv and results.json beside this page. Conventions: the overlap of two "
    "empty masks is 1, of one empty mask 0; distances need both masks and are left out where one is empty; a fold's "
    "value is the mean over its cases; ± is the standard deviation between folds, divisor n − 1."
)
_TITLES = {"cross-validate": "Cross-validation", "ablate": "Ablation", "compare": "Comparison"}


def write_page(results: Results, output_dir: Path) -> Path:
    """Writes `index.html`: tables, figures and worst cases of what there is so far, all inside one file.

    It loads nothing, runs nothing, and says of each table what it was measured on. What failed, wasn't run or is
    undefined is said in words.

    Args:
        results: of an experiment, whole or not.
        output_dir: its folder; the patients of its cases are read from `folds/`, pictures from `worst_cases/`.

    Errors as `write_index`.
    """
    found = comparisons(results, patients_of(results, output_dir))
    sections = [
        ("what", "What it was run on", table_html(on_what(results), words=True)),
        ("scores", "Scores", _scores(results, found)),
        ("figures", "Figures", _figures(results, found)),
        ("worst", "Worst cases", _worst(results, output_dir)),
        ("cost", "Runs and what they took", _runs(results, output_dir)),
    ]
    title = f"{_TITLES.get(results.experiment, results.experiment)} of {results.bundle}"
    title += f", partial: {missing}" if (missing := unfinished(results)) else ""
    return write_index(output_dir, whole_page(title, _lead(results), _warnings(results), sections, _FOOTER))


def _lead(results: Results) -> str:
    """The result in a sentence."""
    baseline = baseline_of(results)
    done = sum(run.done for variant in results.variants for run in variant.runs)
    wanted = len(results.variants) * results.dataset.folds
    so_far = f"{done} of {counted(wanted, 'run')} done."
    if baseline is None or not any(run.done for run in baseline.runs):
        return f"{so_far} No score of {results.baseline} yet."
    means = {label: mean_sd(over_folds(baseline, label, TESTED), TESTED) for label in results.labels}
    scores = [f"{label} {marked(mean, baseline.runs, label)}" for label, mean in means.items()]
    of = f" of {results.baseline}" if len(results.variants) > 1 else ""
    return f"{NAMES[TESTED]}{of}, mean ± sd over folds: {'; '.join(scores)}. {so_far}"


def _warnings(results: Results) -> Iterator[str]:
    data, baseline = results.dataset, baseline_of(results)
    for said in said_of_absent(results, [] if baseline is None else [baseline], results.labels):
        yield f'<p class="warned">{html.escape(said)}</p>\n'
    if data.leak:
        yield (
            f'<p class="leak" role="note">Leak: training and test may share patients ({html.escape(data.said)}). '
            "These scores are higher than those of patients that were never seen, and must not be quoted as such.</p>\n"
        )
    if data.simulated:
        yield '<p class="warned">Simulated: tested cases are simulated; these are not scores of patients.</p>\n'
    for said in mixed(results.runs):
        yield f'<p class="warned">{html.escape(said)}</p>\n'
    failed = len(results.failed)
    if failed:
        yield f'<p class="failed">{failed} run{"s" if failed > 1 else ""} failed: <a href="#cost">see why</a>.</p>\n'


def _scores(results: Results, found: Sequence[Comparison]) -> str:
    if not any(run.done for variant in results.variants for run in variant.runs):
        return "<p>No run has ended with scores yet.</p>\n"
    if len(results.variants) == 1:
        tables = fold_tables(results, results.variants[0])
    else:
        differing = [difference_table(results, found)] if found else []
        tables = [variant_table(results), *differing, *variants_by_fold(results), *further_tables(results)]
    said = said_on(results)
    return "".join(table_html(one, said) for one in tables)


def _figures(results: Results, found: Sequence[Comparison]) -> str:
    of_what = "parameters in total" if figures.parameters_in_total(results) else "trained parameters"
    form: Form = "svg"  # lines, so that it is sharp in print too
    shown = [
        (
            figures.differences(results, found, form),
            f"Difference of mean {NAMES[TESTED]} to {results.baseline}, with 95 % paired bootstrap intervals"
            + ("; open diamonds: the difference in the paper, on its own data" if results.paper else ""),
        ),
        (
            figures.parameters_against(results, form=form) if results.experiment == "compare" else None,
            f"{title_of('iou')} against the network's {of_what} (log scale); bars are ± sd between folds"
            + ("; open diamonds: the paper, at its own number of parameters if it gives one" if results.paper else ""),
        ),
        (
            figures.boxes(results, form=form),
            f"{NAMES[TESTED]} of each case, a box a fold, folds from top to bottom: middle half, median (line), "
            "mean (diamond), whiskers to 1.5 box lengths",
        ),
        (
            figures.bland_altman(results, form),
            f"Sizes that {results.baseline} found against the truth (Bland–Altman): lines are bias and limits of "
            "agreement, bias ± 1.96 sd, bands their 95 % intervals",
        ),
        *(
            (
                figures.curves(one, form),
                f"{one.name}: loss and validation by epoch; the star is the epoch that was tested",
            )
            for one in results.variants
        ),
    ]
    return figures_html(shown)


def _worst(results: Results, output_dir: Path) -> str:
    drawn, spent = read_worst_cases(results, output_dir)
    if not drawn:
        return "<p>Not drawn yet: that is done once, when the runs have ended.</p>\n"
    intro = (
        f"The {counted(len(drawn), 'case')} of {results.baseline} with the lowest {NAMES[TESTED]}, predicted once more "
        f"for these pictures in {seconds(spent)}. Each shows the plane, of those with truth in them, on which most of "
        "the error lies, bare and with outlines: truth orange and solid, prediction blue and dashed. These are images "
        "of the data set: look at them before you hand the page on."
    )
    cards = [_case(one, number, output_dir) for number, one in enumerate(drawn, 1)]
    return f'<p>{html.escape(intro)}</p>\n<div class="cases">\n{"".join(cards)}</div>\n'


def _case(one: Drawn, number: int, output_dir: Path) -> str:
    worst = one.worst
    said = f"{worst.case}, fold {worst.fold}: {NAMES[TESTED]} of {worst.label} {worst.dice:.4f}"
    caption = html.escape(f"{said}; {one.said}" if one.said else said)
    if one.differs:
        caption += f' <span class="warned">Predicted again it is {one.dice:.4f}: another mask than was scored.</span>'
    picture = (
        "" if one.picture is None else image_html((output_dir / FOLDER / Path(one.picture).name).read_bytes(), said)
    )
    return card_html(f"case-{number}", "worst", f"{picture}<figcaption>{caption}</figcaption>", bool(picture))


def _runs(results: Results, output_dir: Path) -> str:
    # a page is handed on: where its folder lay is nobody's business
    told = [one.replace(f"{output_dir}{os.sep}", "") for one in shortfalls(results)]
    said = "".join(f"<li>{html.escape(one)}" for one in told)
    missing = f'<ul class="warned">{said}</ul>\n' if said else '<p class="done">No run failed or is missing.</p>\n'
    return missing + table_html(cost_table(results), said_on(results))
