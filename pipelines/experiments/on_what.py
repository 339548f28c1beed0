"""What our numbers and the paper's were measured on, as a table and in a sentence for every other table."""

from collections.abc import Mapping
from typing import Any

from radseg.pipelines.experiments.cells import counted, parameters, seconds
from radseg.pipelines.experiments.origins import commits, devices, machines
from radseg.pipelines.experiments.paper import published_parameters
from radseg.pipelines.experiments.results import Results
from radseg.pipelines.experiments.tables import Table


def on_what(results: Results) -> Table:
    """What our numbers and the paper's were each measured on."""
    data, paper, runs = results.dataset, results.paper, results.runs
    trained = sum(run.seconds.get("train", 0.0) for run in runs)
    evaluated = sum(run.seconds.get("evaluate", 0.0) for run in runs)
    said = "not stated"
    rows = [
        ("Data", _data(results), _text(paper, "on", said)),
        ("Data set's sha256", data.sha256, said),
        ("Simulated", "yes, at least in part" if data.simulated else "no", _text(paper, "simulated", said)),
        ("Split", data.said or f"{counted(data.folds, 'fold')} by {data.by}", _text(paper, "split", said)),
        *_parameters(results),
        ("Machine", machines(runs), _text(paper, "machine", said)),
        (
            "Time",
            f"{seconds(trained)} training, {seconds(evaluated)} evaluation, {counted(len(runs), 'run')}",
            _text(paper, "seconds", said),
        ),
        ("Source", _source(results), _text(paper, "source", said)),
        ("Settings", _overrides(results.overrides) or "the bundle's own", said),
    ]
    if paper is None:
        return Table("Data, machine and time", ("", "Ours"), tuple(row[:2] for row in rows))
    note = "The data differ, so the paper's column says what was published, and isn't a score to beat."
    return Table("Data, machine and time", ("", "Ours", "Paper"), tuple(rows), note=note)


def said_on(results: Results) -> str:
    """In a sentence or two, for every table: what the numbers in it were measured on."""
    data = results.dataset
    spent = seconds(sum(sum(run.seconds.values()) for run in results.runs))
    ours = (
        f"Ours on {_data(results)}{', simulated' if data.simulated else ''} "
        f"(sha256 {data.sha256[:12]}), by {data.by}{', with a leak' if data.leak else ''}; "
        f"{devices(results.runs)}, {spent}."
    )
    if results.paper is None:
        return ours
    return f"{ours} Paper on {_text(results.paper, 'on', 'data that are not stated')}."


def _parameters(results: Results) -> list[tuple[str, str, str]]:
    """Those of the only network; where there are several, each has its own in their table."""
    if len(results.variants) != 1 or (variant := results.variants[0]).parameters is None:
        return []
    total = variant.total_parameters
    ours = f"{parameters(variant.parameters)} trained" + (f", {parameters(total)} in total" if total else "")
    theirs = published_parameters(results.paper, variant.name)
    return [("Parameters", ours, "not stated" if theirs is None else f"{parameters(theirs)} in total")]


def _data(results: Results) -> str:
    data = results.dataset
    patients = counted(data.patients, "patient") if data.patients else "patients that aren't named"
    return f"{counted(data.cases, 'case')} of {patients}"


def _source(results: Results) -> str:
    ended = f"last run ended {results.date}" if results.date else "end of the last run not recorded"
    return f"radseg bundle {results.bundle} {results.version}, {commits(results.runs)}; {ended}; seed {results.seed}"


def _overrides(overrides: Mapping[str, Any]) -> str:
    return "; ".join(f"{key} = {value}" for key, value in overrides.items())


def _text(paper: Mapping[str, Any] | None, key: str, otherwise: str) -> str:
    value = (paper or {}).get(key)
    return otherwise if value is None else str(value)
