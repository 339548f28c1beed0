"""How a verb is run: what a user can mend ends as one line and an exit code."""

import functools
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

_GO_ON = {
    "segment": ", run again to go on",
    "train": ", --resume goes on where it stopped",
    **dict.fromkeys(("cross_validate", "ablate", "compare", "search"), ", run again to go on"),
}


def verb(function: Callable[..., int]) -> Callable[..., None]:
    """Runs a verb; what a user can mend ends as one line and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        from radseg.pipelines.errors import ConfigError, RadsegError, WeightsError, one_line

        verbose = kwargs.get("verbose", False)
        _quieten(verbose)
        try:
            with _interruptible():
                code = function(*args, **kwargs)
        except KeyboardInterrupt as end:
            say("interrupted; what was finished is kept" + _GO_ON.get(function.__name__, ""))
            code = 143 if isinstance(end, _Terminated) else 130
        except RadsegError as error:
            if verbose:
                raise
            say(f"error: {' '.join(str(error).split())}")
            code = 2 if isinstance(error, (ConfigError, WeightsError)) else 1
        except Exception as error:
            if verbose:
                raise
            say(f"error: {one_line(error)} (not foreseen; -v shows where)")
            code = 1
        raise typer.Exit(code)

    return run


def say(line: str) -> None:
    """Prints to standard error, where it is in nobody's way who reads the results."""
    print(line, file=sys.stderr)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came, as from a scheduler or at shutdown."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Has SIGTERM end a verb as Ctrl-C does, so that work in hand is finished; a second of either ends it at once."""
    numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) != signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_DFL)
        raise _Terminated if number == signal.SIGTERM else KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _quieten(verbose: bool) -> None:
    """Keeps the libraries' warnings and logs from the user unless they were asked for."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.ERROR, format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("radseg").setLevel(logging.DEBUG if verbose else logging.WARNING)
    logging.getLogger("ignite").setLevel(logging.WARNING if verbose else logging.CRITICAL)
    for library in ("matplotlib", "PIL", "pydicom", "nibabel.global"):
        logging.getLogger(library).setLevel(logging.WARNING if verbose else logging.ERROR)
    if not verbose:
        warnings.simplefilter("ignore")
