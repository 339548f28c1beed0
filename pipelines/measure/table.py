"""Measurements as lines for people and as CSV for spreadsheets."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

COLUMNS = ("name", "of", "value", "unit", "uncertainty", "method", "warning")

_SAID = {"1": "", "[hnsf'U]": "HU", "cm2": "cm²", "mm2": "mm²", "deg": "°"}


def as_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One aligned line for each row of `as_rows`: what, of what, value with unit and uncertainty, warning."""
    table = [(row["name"], row.get("of", ""), _amount(row), row.get("warning", "")) for row in rows]
    widths = [max((len(cells[column]) for cells in table), default=0) for column in range(3)]
    for name, of, amount, warning in table:
        line = f"{name:<{widths[0]}}  {of:<{widths[1]}}  {amount:>{widths[2]}}"
        yield f"{line}  {warning}".rstrip()


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows of `as_rows` as CSV (RFC 4180) with the columns `COLUMNS`; what isn't known is left empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([row.get(column) for column in COLUMNS] for row in rows)
    return text.getvalue()


def rounded(value: float | int | str, uncertainty: float | None = None) -> str:
    """A value with no more digits than are known of it, and its uncertainty, if any.

    Of an uncertainty two digits are said, and as many decimals of the value (JCGM 100:2008, 7.2.6); without one three
    digits of the value, or all before the decimal point.
    """
    if uncertainty:
        assert not isinstance(value, str)
        decimals = max(0, 1 - math.floor(math.log10(abs(uncertainty))))
        # adding 0.0 makes 0 of what is rounded to −0
        return f"{round(value, decimals) + 0.0:.{decimals}f} ± {uncertainty:.{decimals}f}"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _amount(row: Mapping[str, Any]) -> str:
    value = row.get("value")
    if value is None:
        return "none"
    unit = _SAID.get(row["unit"], row["unit"])
    return f"{rounded(value, row.get('uncertainty'))} {unit}".rstrip()
