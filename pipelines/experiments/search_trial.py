"""One trial of a search: a training that reports every epoch and may be stopped for it, or went wrong."""

import datetime
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import torch

from radseg.pipelines.errors import ConfigError, RadsegError, one_line
from radseg.pipelines.experiments.progress import Progress, forget_peak_memory
from radseg.pipelines.experiments.results import Origin
from radseg.pipelines.experiments.search_results import Trial
from radseg.pipelines.experiments.search_space import SearchSpace
from radseg.pipelines.experiments.search_storage import ended
from radseg.pipelines.report.atomic import write_whole

_NOTES = "notes"  # the attribute with what Optuna has no place for
_VALUES = "trial.json"


class UnmeasuredMetricError(ConfigError):
    """The training doesn't measure what the search is judged by; no trial can mend that."""


def run_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    space: SearchSpace,
    values: Mapping[str, Any],
    folder: Path,
    train: Callable[..., Any],
    origin: Origin,
) -> None:
    """Trains with `values` and tells the study what came of it; goes on where an interrupted trial was.

    Args:
        study: that suggested the trial.
        trial: to run.
        space: what is searched, and the metric.
        values: by parameter name.
        folder: of the training.
        train: trains with config overrides and calls `on_epoch` with the row of each epoch's history.
        origin: the code and machine that it is run with.

    Raises:
        UnmeasuredMetricError: the epochs have other validation metrics.
        RadsegError: data, folder or disk can't be used. Another ConfigError, as of a loss that isn't finite, and what
            nobody foresaw, as too little memory for these values, are the trial's own.
    """
    measured: dict[int, float] = {}
    epochs = 0
    pruned = False

    def note(row: Mapping[str, float]) -> None:
        nonlocal epochs, pruned
        epochs = int(row["epoch"])
        others = [name for name in row if name.startswith("val")]
        if space.metric not in row and others:
            raise UnmeasuredMetricError(
                f"search: the training doesn't measure {space.metric!r} but {', '.join(others)}; "
                "correct 'metric' in experiments.json"
            )
        value = float(row.get(space.metric, math.nan))
        if math.isfinite(value):
            measured[epochs] = value
            trial.report(value, epochs)
            pruned = trial.should_prune()
        if pruned:
            raise optuna.TrialPruned

    error: str | None = None
    earlier = _earlier_epochs(folder, values)
    options = {"output_dir": str(folder), "resume": earlier is not None, "overwrite": earlier is None}
    _keep(folder, values)
    progress = Progress(folder, anew=earlier is None)
    progress.note_start(origin, goes_on=earlier is not None)
    forget_peak_memory()
    with progress.timed("train"):
        try:
            for row in earlier or ():
                note(row)
            train(**options, **space.overrides(values), on_epoch=note)
            if not measured:
                error = f"{space.metric} was never a number"
        except Exception as trouble:
            if _meets_all(trouble):
                raise
            if not pruned:
                error = one_line(trouble)
    best = (max if space.direction == "maximize" else min)(measured, key=lambda epoch: measured[epoch], default=None)
    notes = {
        "values": dict(values),
        "best_epoch": best,
        "epochs": epochs,
        "seconds": progress.seconds["train"],
        "error": error,
        "origins": [asdict(one) for one in progress.origins],
        "peak_memory_bytes": progress.peak_memory_bytes,
        "peak_gpu_memory_bytes": progress.peak_gpu_memory_bytes,
        "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    trial.set_user_attr(_NOTES, notes)
    if pruned or error is not None or best is None:
        # to the sampler, a failed trial is one to keep away from, as a pruned one
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, measured[best])


def trials_of(study: optuna.Study) -> tuple[Trial, ...]:
    """The trials that have ended, in the order tried."""
    return tuple(_ended(number, one) for number, one in enumerate(ended(study)))


def trial_folder(number: int) -> str:
    """Folder of a trial below the search's."""
    return f"trials/trial_{number:03d}"


def _meets_all(trouble: Exception) -> bool:
    """Whether another trial would meet it as well: the metric, the data, the first weights, the disk."""
    if isinstance(trouble, UnmeasuredMetricError | OSError) or isinstance(trouble.__cause__, OSError):
        return True
    return isinstance(trouble, RadsegError) and not isinstance(trouble, ConfigError)


def _ended(number: int, one: optuna.trial.FrozenTrial) -> Trial:
    notes = dict(one.user_attrs[_NOTES])
    origins = tuple(Origin.from_json(held) for held in notes.pop("origins", ()))
    done = "done" if one.state == optuna.trial.TrialState.COMPLETE else "pruned"
    return Trial(
        number=number,
        status=done if notes["error"] is None else "failed",
        value=one.intermediate_values.get(notes["best_epoch"]),
        folder=trial_folder(number),
        origins=origins,
        scores=tuple(sorted(one.intermediate_values.items())),
        **notes,
    )


def _keep(folder: Path, values: Mapping[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _VALUES, [json.dumps(dict(values), indent=1) + "\n"])
    except OSError as error:
        raise ConfigError(f"{folder}: can't be written ({error.strerror}); free space and run again") from error


def _earlier_epochs(folder: Path, values: Mapping[str, Any]) -> list[dict[str, float]] | None:
    """History of the same trial if it was interrupted and can go on."""
    try:
        if json.loads((folder / _VALUES).read_text()) != dict(values):
            return None
        epochs: list[dict[str, float]] = torch.load(folder / "last.pt", map_location="cpu", weights_only=True)["epochs"]
    except Exception:  # whatever is wrong with it, the trial then begins anew
        return None
    return epochs
