"""A search as one page that holds all it shows: what it was run on, every trial, scores and curves of the trials."""

import html
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from radseg.pipelines.experiments.cells import NOTHING, counted, memory, number, seconds, setting
from radseg.pipelines.experiments.origins import commits, devices, machines, mixed
from radseg.pipelines.experiments.page_parts import figures_html, table_html, whole_page, write_index
from radseg.pipelines.experiments.search_results import Search, Trial
from radseg.pipelines.experiments.tables import Table
from radseg.pipelines.report.plots import TrialCurve, TrialScore, trial_curves, trial_scores

_FOOTER = (
    "Every number is in search.json and search.csv beside this page. A trial is judged by its best epoch on validation "
    "items, and by nothing else; the test split was never looked at. Pruned: stopped since its best epoch so far was "
    "worse than the median of the trials trained to their end had at that epoch."
)


def write_search_page(search: Search, output_dir: Path) -> Path:
    """Writes `index.html`: the trials of a search, whole or not, in one file that loads and runs nothing.

    The folder's name stays out of it; errors as `write_index`.
    """
    said = _said_on(search)
    sections = [
        ("what", "What it was run on", table_html(_on_what(search), words=True)),
        ("best", "Best trial", _best(search, said)),
        ("trials", "Trials", table_html(_trials(search), said)),
        ("ended", "Trials that were pruned or failed", _ended(search, output_dir)),
        ("figures", "Figures", _figures(search)),
    ]
    title = f"Search of settings of {Path(search.bundle).absolute().name}"
    if search.wanted is not None and len(search.trials) < search.wanted:
        title += f", partial: {len(search.trials)} of {counted(search.wanted, 'trial')} ended"
    return write_index(output_dir, whole_page(title, _lead(search), _warnings(search), sections, _FOOTER))


def _lead(search: Search) -> str:
    best = search.best
    so_far = f"{counted(len(search.trials), 'trial')} ended"
    if best is None:
        return f"No trial was trained to its end with a score yet; {so_far}."
    score = number(best.value, search.metric)
    return f"Best {search.metric}: {score}, trial {best.number}, in epoch {best.best_epoch}; {so_far}."


def _warnings(search: Search) -> Iterator[str]:
    yield (
        '<p class="warned">The best of many trials was chosen by these scores, so it looks better than it is: '
        "score its settings on cases that no trial was judged by.</p>\n"
    )
    if search.dataset.simulated:
        yield '<p class="warned">Simulated: items that judged are simulated; these are not scores of patients.</p>\n'
    for said in mixed(search.trials, "trial"):
        yield f'<p class="warned">{html.escape(said)}</p>\n'
    failed = sum(one.status == "failed" for one in search.trials)
    if failed:
        yield f'<p class="failed">{counted(failed, "trial")} failed: <a href="#ended">see why</a>.</p>\n'


def _on_what(search: Search) -> Table:
    spent = seconds(sum(one.seconds for one in search.trials))
    ended = f"last trial ended {search.date}" if search.date else "end of the last trial not recorded"
    bundle = f"radseg bundle {Path(search.bundle).absolute().name} {search.version}"
    rows = [
        ("Data", _data(search)),
        ("Data set's sha256", search.dataset.sha256),
        ("Simulated", "yes, at least in part" if search.dataset.simulated else "no"),
        ("Judged by", search.judged_by),
        *((f"Searched: {name}", _range(one)) for name, one in search.parameters.items()),
        ("Settings", "; ".join(f"{key} = {value}" for key, value in search.settings.items()) or "the bundle's own"),
        ("Machine", machines(search.trials)),
        ("Time", f"{spent}, {counted(len(search.trials), 'trial')}"),
        ("Source", f"{bundle}, {commits(search.trials)}; {ended}; seed {search.seed}"),
    ]
    return Table("Data, settings, machine and time", ("", "This search"), tuple(rows))


def _said_on(search: Search) -> str:
    simulated = ", simulated" if search.dataset.simulated else ""
    spent = seconds(sum(one.seconds for one in search.trials))
    return (
        f"On {_data(search)}{simulated} (sha256 {search.dataset.sha256[:12]}); "
        f"{devices(search.trials)}, {spent}."
    )  # fmt: skip


def _data(search: Search) -> str:
    return f"{counted(search.dataset.training, 'item')} to train, {search.dataset.validation} to validate"


def _range(parameter: Mapping[str, Any]) -> str:
    """What a setting could be, and which keys it moves."""
    if parameter["type"] == "categorical":
        said = f"one of {', '.join(str(one) for one in parameter['choices'])}"
    else:
        said = f"{setting(parameter['low'])} to {setting(parameter['high'])}"
        said += ", by its logarithm" if parameter["log"] else ""
        said += f", in steps of {setting(parameter['step'])}" if parameter["step"] is not None else ""
    return f"{said} ({', '.join(parameter['keys'])})"


def _best(search: Search, said: str) -> str:
    if search.best is None:
        return "<p>No trial was trained to its end with a score yet.</p>\n"
    rows = tuple((name, setting(value)) for name, value in search.best_overrides.items())
    note = "The command that trains with them is in search.json."
    title = f"Settings of trial {search.best.number}"
    return table_html(Table(title, ("Key", "Value"), rows, note=note), said, words=True)


def _trials(search: Search) -> Table:
    several = len({one.origins for one in search.trials}) > 1
    names = list(search.parameters)
    rows = [
        (
            f"trial {one.number}{', best' if search.best is not None and one.number == search.best.number else ''}",
            one.status,
            number(one.value, search.metric),
            NOTHING if one.best_epoch is None else f"{one.best_epoch} of {one.epochs}",
            *(NOTHING if name not in one.values else setting(one.values[name]) for name in names),
            seconds(one.seconds),
            memory(one.peak_memory_bytes),
            memory(one.peak_gpu_memory_bytes),
            *([commits([one]), machines([one])] if several else []),
        )
        for one in search.trials
    ]
    where = ("Commit", "Machine") if several else ()
    head = ("Trial", "Status", search.metric, "Best epoch", *names, "Time", "Peak memory", "Peak GPU memory", *where)
    note = "Wall clock, restarts included; memory is that of the search's process while the trial ran."
    return Table("All trials", head, tuple(rows), note=note)


def _ended(search: Search, output_dir: Path) -> str:
    told = [_fate(one, search.metric) for one in search.trials if one.status != "done"]
    if not told:
        return '<p class="done">No trial was pruned or failed.</p>\n'
    # a page is handed on: where its folder lay is nobody's business
    said = "".join(f"<li>{html.escape(one.replace(f'{output_dir}{os.sep}', ''))}" for one in told)
    return f'<ul class="warned">{said}</ul>\n'


def _fate(one: Trial, metric: str) -> str:
    if one.status == "failed":
        return f"trial {one.number} failed after {counted(one.epochs, 'epoch')}: {one.error or 'no reason recorded'}"
    gave = f"with {metric} {number(one.value, metric)}"
    return f"trial {one.number} was pruned after {counted(one.epochs, 'epoch')}, {gave}"


def _figures(search: Search) -> str:
    scores = [TrialScore(one.number, one.status, one.value) for one in search.trials]
    curves = [TrialCurve(one.number, one.status, one.scores) for one in search.trials]
    best = None if search.best is None else search.best.number
    return figures_html(
        [
            (
                trial_scores(scores, search.metric, search.direction == "minimize", "svg"),
                f"{search.metric} of each trial in its best epoch, by how the trial ended; dashed: the best so far",
            ),
            (
                trial_curves(curves, search.metric, best, "svg"),
                f"{search.metric} by epoch, a line a trial; a dot where it ended",
            ),
        ]
    )
