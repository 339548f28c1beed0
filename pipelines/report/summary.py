"""A batch as a table: one line for each case, for a spreadsheet or a script."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from radseg.pipelines.report.atomic import write_whole
from radseg.pipelines.report.results import Result, amount_columns, last_results

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_summary(output_dir: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes `summary.csv` (RFC 4180, UTF-8): one line for each case and refused input, from its last manifest line.

    Columns: case, status (done, failed, refused), reason, kind, seconds over all stages, warnings (joined by "; "),
    then what is known of each label: LABEL_volume_ml, LABEL_area_mm2, LABEL_share_of_image. A text that a spreadsheet
    would take for a formula begins with an apostrophe; numbers stay numbers.

    Args:
        output_dir: folder of the batch.
        rows: lines of its manifest, oldest first.

    Raises:
        OSError: the file can't be written; one that was there before stays.
    """
    results = last_results(rows)
    write_whole(output_dir / "summary.csv", _lines(results))


def _lines(results: list[Result]) -> Iterator[str]:
    columns = amount_columns(results)
    yield _line(
        ["case", "status", "reason", "kind", "seconds", "warnings", *(f"{label}_{known}" for label, known in columns)]
    )
    for one in results:
        amounts = [one.amounts.get(label, {}).get(known) for label, known in columns]
        yield _line([one.case, one.status, one.reason, one.kind, one.seconds, "; ".join(one.warnings), *amounts])


def _line(cells: list[str | float | None]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow([f"'{cell}" if _looks_like_formula(cell) else cell for cell in cells])
    return text.getvalue()


def _looks_like_formula(cell: str | float | None) -> bool:
    return isinstance(cell, str) and cell.startswith(_FORMULA_STARTS)
