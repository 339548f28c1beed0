"""What people watch: bars and lines go to standard error, bars only where there is a terminal to draw them on."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

_Item = TypeVar("_Item")


def console() -> Console:
    """A console on standard error."""
    return Console(stderr=True)


def bars_shown(wanted: bool) -> bool:
    """Whether a progress bar makes sense: it was asked for, and standard error is a terminal."""
    return wanted and sys.stderr.isatty()


def tracked(items: Sequence[_Item], doing: str, wanted: bool = True) -> Iterable[_Item]:
    """The items, with a bar that says what is being done and goes when it is."""
    return track(items, doing, console=console(), disable=not bars_shown(wanted), transient=True)
