"""What became of each case, from the lines of a manifest."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

AMOUNTS = ("volume_ml", "area_mm2", "share_of_image")
"""What may be known of a label, best first."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended, or why an input is none.

    Attributes:
        case: name of the case; of a refused input, the name that the manifest knows it by, which tells nobody's path.
        status: "done", "failed" or "refused".
        reason: why it failed or was refused, "" when done.
        kind: what its files were, "" when unknown.
        amounts: by label, then by what is known of it (`AMOUNTS`).
        seconds: over all stages, None when unknown.
        warnings: what is doubtful about it.
        flags: why its image may be no image for the bundle; part of the warnings.
    """

    case: str
    status: str
    reason: str
    kind: str
    amounts: Mapping[str, Mapping[str, float]]
    seconds: float | None
    warnings: tuple[str, ...]
    flags: tuple[str, ...] = ()


def last_results(rows: Iterable[Mapping[str, Any]]) -> list[Result]:
    """The last line of each case and of each refused input, in the order in which they were first met.

    A refusal stays beside a case of the same name: files of a series may be refused while the others make a case. It
    goes when a later run found nothing to refuse (status "usable").

    Args:
        rows: lines of a manifest, oldest first; those that name neither a case nor an input are passed over.
    """
    last: dict[tuple[bool, str], Result] = {}
    for row in rows:
        status = str(row.get("status", ""))
        name = row.get("input" if status in ("refused", "usable") else "case")
        if status == "usable":
            last.pop((True, str(name)), None)
        elif status in ("done", "failed", "refused") and name:
            last[status == "refused", str(name)] = _result(row, str(name), status)
    return list(last.values())


def amount_columns(results: Iterable[Result]) -> list[tuple[str, str]]:
    """Labels and what is known of them in any of the results, in the order in which they are met."""
    columns = dict.fromkeys((label, known) for one in results for label, row in one.amounts.items() for known in row)
    labels = list(dict.fromkeys(label for label, _ in columns))
    return sorted(columns, key=lambda one: (labels.index(one[0]), AMOUNTS.index(one[1])))


def _result(row: Mapping[str, Any], name: str, status: str) -> Result:
    labels = row.get("labels") or {}
    amounts = {
        str(label): {known: float(values[known]) for known in AMOUNTS if _is_number(values.get(known))}
        for label, values in labels.items()
    }
    seconds = [float(value) for value in (row.get("seconds") or {}).values() if _is_number(value)]
    return Result(
        case=name,
        status=status,
        reason=_line(row.get("reason", "")),
        kind=str(row.get("kind", "")),
        amounts=amounts,
        seconds=round(sum(seconds), 3) if seconds else None,
        warnings=_lines(dict.fromkeys((*(row.get("flags") or ()), *(row.get("warnings") or ())))),
        flags=_lines(row.get("flags") or ()),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _lines(texts: Iterable[object]) -> tuple[str, ...]:
    return tuple(_line(text) for text in texts)
