"""The tables of an experiment in Markdown, for a model card."""

from pathlib import Path

from radseg.pipelines.experiments.on_what import said_on
from radseg.pipelines.experiments.origins import mixed
from radseg.pipelines.experiments.results import Results
from radseg.pipelines.experiments.scored_items import patients_of
from radseg.pipelines.experiments.scores import comparisons, unfinished
from radseg.pipelines.experiments.tables import Table, difference_table, fold_tables, variant_table

_SPECIAL = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#~$"} | {"\n": " ", "\r": " "})


def markdown(results: Results, output_dir: Path | None = None) -> str:
    """Scores by fold with mean ± sd, or by variant with their differences to the baseline, the paper's beside ours.

    Below each table stands what its marks mean and what it was measured on, and above them all a leak, simulated data
    and that runs are missing.

    Args:
        results: of an experiment.
        output_dir: its folder, which says of which patient each case is; without it each case counts as a patient of
            its own in the intervals.
    """
    data = results.dataset
    warnings = [f"**Partial: {missing}.**\n"] if (missing := unfinished(results)) else []
    if data.leak:
        warnings.append(
            f"**Leak: training and test may share patients ({_text(data.said)}). These scores are higher than those of "
            "patients that were never seen.**\n"
        )
    if data.simulated:
        warnings.append("**Simulated: tested cases are simulated; these are not scores of patients.**\n")
    warnings += [f"**{_text(said)}**\n" for said in mixed(results.runs)]
    if len(results.variants) == 1:
        tables = fold_tables(results, results.variants[0])
    else:
        found = comparisons(results, None if output_dir is None else patients_of(results, output_dir))
        tables = [variant_table(results), *([difference_table(results, found)] if found else [])]
    said = _text(said_on(results))
    return "\n".join([*warnings, *(f"{_table(one)}\n{said}\n" for one in tables)])


def _table(table: Table) -> str:
    heads = [table.heads[0]]
    above = [name for name, width in table.groups for _ in range(width)] or [""] * (len(table.heads) - 1)
    for group, head in zip(above, table.heads[1:], strict=True):
        heads.append(", ".join(text for text in (group, head) if text))
    lines = [
        _line(heads),
        "|".join(["", "---", *["---:"] * (len(heads) - 1), ""]),
        *(_line(row) for row in table.rows),
    ]
    note = "".join(f"\n{_text(text)}\n" for text in (*table.marks, table.note) if text)
    return f"**{_text(table.title)}**\n\n" + "\n".join(lines) + f"\n{note}"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(_text(cell) for cell in cells)} |"


def _text(cell: str) -> str:
    return cell.translate(_SPECIAL)
