"""How a verb is run: what a user can mend ends as one line and an exit code."""

import functools
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer

_GO_ON = {"segment": ", run again to go on", "train": ", --resume goes on after the last whole epoch"}


def verb(function: Callable[..., int]) -> Callable[..., None]:
    """Runs a verb; what a user can mend ends as one line and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        from radseg.pipelines.errors import ConfigError, RadsegError, WeightsError, one_line

        verbose = kwargs.get("verbose", False)
        _quieten(verbose)
        try:
            code = function(*args, **kwargs)
        except KeyboardInterrupt:
            say("interrupted; what was finished is kept" + _GO_ON.get(function.__name__, ""))
            code = 130
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


def _quieten(verbose: bool) -> None:
    """Keeps the libraries' warnings and logs from the user unless they were asked for."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.ERROR, format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("radseg").setLevel(logging.DEBUG if verbose else logging.WARNING)
    logging.getLogger("ignite").setLevel(logging.WARNING if verbose else logging.CRITICAL)
    for library in ("matplotlib", "PIL", "pydicom", "nibabel.global"):
        logging.getLogger(library).setLevel(logging.WARNING if verbose else logging.ERROR)
    if not verbose:
        warnings.simplefilter("ignore")
