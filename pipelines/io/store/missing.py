"""Paths on a command line looked at before anything else, without the libraries that would read what is there."""

from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.store.settings import refuse_secret
from radseg.pipelines.io.store.url import place


def refuse_missing(*paths: str | Path | None) -> None:
    """See that local files and folders are there, so that a mistyped path is told before anything is loaded.

    Args:
        paths: as the user gave them; URLs, and None for what wasn't given, pass.

    Raises:
        InputError: one isn't there.
        ConfigError: one is a secret rather than a path, which isn't repeated.
    """
    for path in paths:
        refuse_secret("path", path)
        where = None if path is None else place(path)
        try:
            if isinstance(where, Path):
                where.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(f"{where}: no such file or folder; check the path") from error
        except (OSError, ValueError):  # told by what opens it
            pass
