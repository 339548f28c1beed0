"""What a search found: its trials and the best of them, as `search.json`, `search.csv` and a command line."""

import csv
import io
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from radseg.pipelines.bundle_loader import RUN_KEYS, top_key
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.experiments.results import Machine, Origin, finite
from radseg.pipelines.overrides import parse
from radseg.pipelines.report.atomic import write_whole

RESULTS = "search.json"
TABLE = "search.csv"
_BEST = "best"
_WHY = "Trials are compared by a score that means the same in each; a loss doesn't where its own settings are searched."


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: from 0, in the order tried.
        status: `done`, `pruned` (its best epoch worse than the median of the finished trials at that time) or `failed`.
        values: by parameter name.
        value: the metric in its best epoch, None if it was never measured.
        best_epoch: which epoch that was.
        epochs: that were trained.
        seconds: wall clock, restarts included but for what was killed.
        folder: below the search's.
        error: why it failed, in a line.
        origins: commits and machines that it was computed with, several if it was gone on with elsewhere; empty of a
            trial that doesn't say.
        ended: when, ISO 8601 with time zone; None of a trial that doesn't say.
        scores: epoch and metric of each epoch in which it was measured.
        peak_memory_bytes: largest resident main memory of the search's process in the trial; None where it isn't known.
        peak_gpu_memory_bytes: largest allocation on the GPU, None on a CPU.
    """

    number: int
    status: str
    values: Mapping[str, Any]
    value: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    folder: str
    error: str | None = None
    origins: tuple[Origin, ...] = ()
    ended: str | None = None
    scores: tuple[tuple[int, float], ...] = ()
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None


@dataclass(frozen=True)
class Searched:
    """The data that a search trained and validated on.

    Attributes:
        sha256: over the datalist's content and the sha256 of every file that it names.
        training: number of items trained on.
        validation: number of items that judged.
        simulated: whether an item that judged is simulated.
    """

    sha256: str
    training: int
    validation: int
    simulated: bool


@dataclass(frozen=True)
class Search:
    """What a search found so far.

    Attributes:
        bundle: its name or folder, as it was given.
        version: the bundle's.
        commit: of the trial that ended last, None without a checkout or if no trial says.
        date: of the last trial's end, ISO 8601 with time zone; None if no trial says.
        machine: of the trial that ended last, None if no trial says.
        dataset: that it ran on.
        metric: validation metric that judged, as the bundle's experiments.json names it.
        direction: `maximize` or `minimize`.
        parameters: what was searched, by name.
        seed: of sampler and trainings.
        overrides: config keys changed for all trials, as the user gave them.
        trials: in the order tried.
        best: the best trial that was trained to its end, None while there is none.
        best_overrides: its config keys and values.
        key_metric: the bundle's own, which chooses the epoch whose weights a training keeps; None if it names none.
        wanted: how many trials there shall be in all; None if that isn't known.
        output_dir: folder of the search; None if it isn't known.
        trust_config: whether the bundle is run only if it is trusted.
    """

    bundle: str
    version: str
    commit: str | None
    date: str | None
    machine: Machine | None
    dataset: Searched
    metric: str
    direction: str
    parameters: Mapping[str, Mapping[str, Any]]
    seed: int
    overrides: Mapping[str, Any]
    trials: tuple[Trial, ...]
    best: Trial | None
    best_overrides: Mapping[str, Any]
    key_metric: str | None = None
    wanted: int | None = None
    output_dir: Path | None = None
    trust_config: bool = False

    @property
    def judged_by(self) -> str:
        """The metric that is searched by, who says so, how it stands to the bundle's key metric, and why it is that."""
        said = f"{self.metric}, the {'lower' if self.direction == 'minimize' else 'higher'} the better"
        said += ', as "metric" in the bundle\'s experiments.json says'
        if self.key_metric == self.metric:
            said += "; it is the bundle's key metric too"
        elif self.key_metric is not None:
            said += f"; not {self.key_metric}, the bundle's key metric, which within each training chooses the epoch "
            said += "whose weights are kept"
        return f"{said}. {_WHY}"

    @property
    def settings(self) -> dict[str, Any]:
        """The overrides that change what is computed, those that name a place left out."""
        return {key: value for key, value in self.overrides.items() if top_key(key) not in RUN_KEYS}

    @property
    def command(self) -> str | None:
        """The command line that trains with the best settings into `best` in the search's folder; None without any."""
        if self.best is None:
            return None
        changed = {key: one for key, one in {**self.overrides, **self.best_overrides}.items() if key != "progress"}
        words = ["radseg", "train", self.bundle]
        words += ["--output", str(self.output_dir / _BEST)] if self.output_dir is not None else []
        words += ["--trust-config"] if self.trust_config else []
        for key, value in changed.items():
            words += [f"--{key}", _spelt(value)]
        return shlex.join(words)


def write_search(search: Search, output_dir: Path) -> None:
    """Writes `search.json` and `search.csv`, a row a trial; places are named in the command line alone.

    Raises:
        ConfigError: the folder can't be written; what was there before stays.
    """
    content = {**asdict(search), "overrides": search.settings, "command": search.command}
    del content["output_dir"]
    try:
        text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(output_dir / RESULTS, [text])
        write_whole(output_dir / TABLE, [_table(search)])
    except OSError as error:
        raise ConfigError(f"{output_dir}: can't be written ({error.strerror}); free space and run again") from error


def _table(search: Search) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    names = list(search.parameters)
    writer.writerow(["trial", "status", search.metric, "best_epoch", "epochs", "seconds", *names, "folder", "error"])
    for one in search.trials:
        values = [one.values.get(name) for name in names]
        head = [one.number, one.status, one.value, one.best_epoch, one.epochs, f"{one.seconds:.1f}"]
        writer.writerow([*head, *values, one.folder, one.error])
    return text.getvalue()


def _spelt(value: Any) -> str:
    """The value as a word of a command line that is read back as the same value."""
    if isinstance(value, str) and parse(["--key", value])[1]["key"] == value:
        return value
    return json.dumps(value)
