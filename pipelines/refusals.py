"""Which inputs the manifest has as refused, kept true from run to run."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any


class Refusals:
    """Gives the lines that a run adds to the manifest of a batch, so that it says each refusal once.

    Args:
        rows: lines of the manifest of earlier runs, oldest first.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._before: dict[str, str] = {}
        for row in rows:
            if row.get("status") == "refused":
                self._before[str(row.get("input"))] = str(row.get("reason", ""))
            elif row.get("status") == "usable":
                self._before.pop(str(row.get("input")), None)
        self._now: dict[str, list[str]] = {}

    def lines(self, told: str, reason: str) -> Iterator[dict[str, str]]:
        """The line of an input, by the name that it is told by, with all reasons of this run; none if it is known."""
        reasons = self._now.setdefault(told, [])
        if reason in reasons:
            return
        reasons.append(reason)
        if not f"{self._before.get(told, '')}; ".startswith(f"{'; '.join(reasons)}; "):
            yield {"status": "refused", "input": told, "reason": "; ".join(reasons)}

    def withdrawn(self, usable: Collection[str]) -> Iterator[dict[str, str]]:
        """Lines of the inputs that were refused by an earlier run and are cases now, such as when they were mended."""
        for told in self._before:
            if told in usable and told not in self._now:
                yield {"status": "usable", "input": told}
