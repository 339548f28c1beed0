"""Lines on standard error that say what takes long: they reach a log as well, where no bar can be drawn."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from radseg.pipelines.console import bars_shown, console, tracked

_SILENCE_S = 2.0  # after which people ask themselves whether it still runs
_GROWTH = 2.0  # of the time between two lines, so that an hour leaves a dozen

_Item = TypeVar("_Item")


def tell(line: str, wanted: bool = True) -> None:
    """Writes a line of plain text, whatever signs are in it, to standard error."""
    if wanted:
        console().print(line, highlight=False, markup=False, soft_wrap=True)


def told(
    items: Sequence[_Item], doing: str, wanted: bool = True, clock: Callable[[], float] = time.monotonic
) -> Iterable[_Item]:
    """The items, with a bar on a terminal; elsewhere with a line after two seconds, four, eight and so on.

    Args:
        items: to go through.
        doing: what is being done, such as "checking".
        wanted: say it at all.
        clock: seconds, ever growing.
    """
    if bars_shown(wanted):
        yield from tracked(items, doing)
        return
    start, due = clock(), _SILENCE_S
    for number, item in enumerate(items):
        passed = clock() - start
        if passed >= due:
            tell(f"{doing}: {number:,} of {len(items):,}", wanted)
            while due <= passed:
                due *= _GROWTH
        yield item
