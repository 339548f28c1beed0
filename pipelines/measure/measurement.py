"""One measured number: what of, its unit, how it was got, how sure it is, or why there is none."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """A number, or a word such as a grade, with all that is needed to read it alone.

    Attributes:
        name: such as `anterior height`.
        value: None where it can't be measured; `warning` then says why.
        unit: UCUM's, such as `mm`, `ml`, `cm2`, `[hnsf'U]`, `%`, or `1` for a ratio or grade.
        of: the region, such as `vertebra 3` or `left lung`; empty for the whole mask.
        method: how, in a few words.
        uncertainty: half the width of a 95 % interval, or the error that the grid alone makes, in `unit`.
        warning: what to know before using it, such as that the field of view cuts the region off.
    """

    name: str
    value: float | int | str | None
    unit: str
    of: str = ""
    method: str = ""
    uncertainty: float | None = None
    warning: str | None = None


def as_rows(measurements: Iterable[Measurement], digits: int = 4) -> list[dict[str, Any]]:
    """The measurements as statistics.json holds them: numbers rounded, what isn't known left out."""
    rows = []
    for one in measurements:
        row = {key: value for key, value in asdict(one).items() if value not in (None, "")}
        for key in ("value", "uncertainty"):
            if isinstance(row.get(key), float):
                row[key] = round(row[key], digits)
        rows.append({"name": one.name, "value": row.get("value"), **row})
    return rows
