"""The trials of a search on disk: one SQLite file in its folder; killed trials are told from ended ones."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import optuna
from sqlalchemy.exc import SQLAlchemyError

from radseg.pipelines.errors import ConfigError

STORAGE = "search.sqlite"
_NAME = "search"
_WAIT_SECONDS = 10.0  # that SQLite waits for whoever else writes
_ENDED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


@contextmanager
def opened(output_dir: Path, direction: Literal["maximize", "minimize"]) -> Iterator[optuna.Study]:
    """The study in a folder, begun if there is none; trials that were killed in it are given up, to be tried again.

    Args:
        output_dir: folder of the search.
        direction: `maximize` or `minimize`.

    Raises:
        ConfigError: the file is locked or damaged, or can't be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # each trial has a line of its own
    file = output_dir / STORAGE
    with _said_in_one_line(file):
        storage = _storage(file)
        try:
            study = optuna.create_study(
                storage=storage, study_name=_NAME, direction=direction, load_if_exists=True, sampler=_sampler(0, 0)
            )
            for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()


def ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that came to an end, pruned ones included, in their order."""
    return study.get_trials(deepcopy=False, states=_ENDED)


def ask(study: optuna.Study, seed: int) -> optuna.Trial:
    """The next trial.

    Its values depend on the seed, on how many trials have ended and on what they gave, not on whether the search was
    interrupted in between: the sampler is seeded anew for each.
    """
    study.sampler = _sampler(seed, len(ended(study)))
    return study.ask()


def _sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest()
    return optuna.samplers.TPESampler(seed=int.from_bytes(digest, "big"))


def _storage(file: Path) -> optuna.storages.RDBStorage:
    # the path goes past the URL, where some of the letters of a file's name mean something else
    return optuna.storages.RDBStorage("sqlite:///search.sqlite", engine_kwargs={"creator": lambda: _connect(file)})


def _connect(file: Path) -> sqlite3.Connection:
    # SQLAlchemy's pool hands a connection on, one thread after another
    return sqlite3.connect(file, timeout=_WAIT_SECONDS, check_same_thread=False)


@contextmanager
def _said_in_one_line(file: Path) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, optuna.exceptions.StorageInternalError) as error:
        reason = _innermost(error)
        if "locked" in reason:
            remedy = "is locked by another program; close what has it open and run again, finished trials are kept"
        elif "not a database" in reason or "malformed" in reason:
            remedy = f"is damaged ({reason}); move it away to search anew"
        else:
            remedy = f"can't be used ({reason}); free space, make it writable, or choose another --output"
        raise ConfigError(f"{file}: {remedy}") from error


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())
