"""The place that a pack is put at: whole or not at all, and never in place of anything but a pack."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.volume import first_line


def check_place(target: Path, overwrite: bool) -> None:
    """Refuses a target that is there, unless it is a pack (or a zip) and may be overwritten.

    Raises:
        ConfigError: with the remedy.
    """
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise ConfigError(f"{target}: is already there; --overwrite replaces it")
    zipped = target.suffix == ".zip" and target.is_file()
    if target.is_symlink() or not (zipped or (target / "configs" / "metadata.json").is_file()):
        raise ConfigError(f"{target}: isn't a packed bundle, so it isn't overwritten; choose another --output")


@contextmanager
def made_beside(target: Path, overwrite: bool) -> Iterator[Path]:
    """Gives a place in a hidden folder beside `target`; what was made there takes the target's place at the end.

    Raises:
        ConfigError: something came to be there meanwhile; see `check_place`.
        InputError: nothing can be written there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".radseg-pack-", dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            yield made
            check_place(target, overwrite)
            _take_place(made, target, Path(scratch) / "before")
    except OSError as error:
        raise InputError(f"{target}: can't be written ({first_line(error)}); choose another --output") from error


def _take_place(made: Path, target: Path, aside: Path) -> None:
    if not target.is_dir():
        made.replace(target)
        return
    target.rename(aside)
    try:
        made.rename(target)
    except BaseException:
        aside.rename(target)
        raise
