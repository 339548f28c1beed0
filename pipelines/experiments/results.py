"""What an experiment found: records that go to `results.json` and back, and the table `results.csv`."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.report.atomic import write_whole

RESULTS = "results.json"
TABLE = "results.csv"


@dataclass(frozen=True)
class Machine:
    """What an experiment ran on: processor, its cores, main memory in GB (10⁹ bytes), and the device that trained."""

    cpu: str
    cores: int
    memory_gb: float
    device: str


@dataclass(frozen=True)
class Origin:
    """What a run was computed with: the commit of the checkout, None without one, and the machine."""

    commit: str | None
    machine: Machine

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Origin:
        """What `dataclasses.asdict` wrote."""
        return cls(content["commit"], Machine(**content["machine"]))


@dataclass(frozen=True)
class Dataset:
    """What an experiment was trained and tested on.

    Attributes:
        sha256: over the datalist's content and the sha256 of every file that it names.
        cases: items in the folds.
        patients: patients that they name.
        simulated: whether an item that is tested is simulated.
        by: `patient` or `image`, what was dealt to the folds.
        folds: number of folds; 1 for the datalist's own training, validation and test.
        leak: whether images of one patient may lie on both sides.
        said: how the folds were made, and the warning that goes with a leak, in a sentence or two.
    """

    sha256: str
    cases: int
    patients: int
    simulated: bool
    by: str
    folds: int
    leak: bool
    said: str = ""


@dataclass(frozen=True)
class Row:
    """Metrics of one label in one case, by name; None where undefined (see `radseg.pipelines.metrics`).

    `truth` and `prediction` are what is known of the label's size by name, as `evaluate` records it.
    """

    case: str
    label: str
    metrics: Mapping[str, float | None]
    truth: Mapping[str, float] = field(default_factory=dict)
    prediction: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One training of one variant and its scores on the cases that it never saw.

    Attributes:
        fold: whose cases it was tested on.
        folder: below the experiment's, such as `no-ffm/fold_0`.
        status: `done` or `failed`.
        error: why it failed, in a line.
        epochs: that were trained.
        best_epoch: whose weights were tested: the one that validation chose, or the last.
        seconds: wall clock of `train` and `evaluate`, restarts included but for what was killed.
        peak_memory_bytes: largest resident main memory of the run's own process; None where it isn't known.
        peak_gpu_memory_bytes: largest allocation on the GPU, None on a CPU.
        history: a row an epoch with "epoch", "loss" and the validation's metrics.
        rows: scores.
        notes: what to know when reading the scores, a sentence each.
        origins: commits and machines that it was computed with, several if it was gone on with elsewhere; empty of a
            run that doesn't say.
        ended: when, ISO 8601 with time zone; None of a run that doesn't say.
    """

    fold: int
    folder: str
    status: str
    error: str | None = None
    epochs: int = 0
    best_epoch: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None
    history: tuple[Mapping[str, float | None], ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    ended: str | None = None

    @property
    def done(self) -> bool:
        """Whether it has scores."""
        return self.status == "done"

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Run:
        """The run that `dataclasses.asdict` wrote."""
        rows = tuple(Row(**row) for row in content["rows"])
        origins = tuple(Origin.from_json(one) for one in content.get("origins", ()))
        sequences = {
            "history": tuple(content["history"]),
            "rows": rows,
            "notes": tuple(content.get("notes", ())),
            "origins": origins,
        }
        return cls(**{**content, **sequences})


@dataclass(frozen=True)
class Variant:
    """A form of the bundle.

    Attributes:
        name: its name.
        overrides: what it changes in the config.
        parameters: of its network, those that are trained; None where they aren't known.
        runs: its runs.
        total_parameters: all of them, with the means and variances of batch norms, as Keras counts; None where they
            aren't known.
    """

    name: str
    overrides: Mapping[str, Any]
    parameters: int | None
    runs: tuple[Run, ...] = ()
    total_parameters: int | None = None


@dataclass(frozen=True)
class Results:
    """All of an experiment that there is so far; see the attributes' own records.

    Attributes:
        experiment: `cross-validate`, `ablate` or `compare`.
        bundle: its name.
        version: the bundle's.
        commit: of the run that ended last; None without a checkout or if no run says. `origins` has those of all.
        date: when the last run ended, ISO 8601 with time zone; None if no run says.
        machine: of the run that ended last; None if no run says.
        dataset: that it ran on.
        seed: of folds and training.
        overrides: config keys changed for all variants, paths left out.
        baseline: name of the variant that the others are compared with.
        labels: names of the labels that were scored.
        paper: the published numbers and what they were measured on, as the bundle's experiments.json has them.
        variants: what was compared.
    """

    experiment: str
    bundle: str
    version: str
    commit: str | None
    date: str | None
    machine: Machine | None
    dataset: Dataset
    seed: int
    overrides: Mapping[str, Any]
    baseline: str
    labels: tuple[str, ...]
    paper: Mapping[str, Any] | None
    variants: tuple[Variant, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All that ended, variant by variant."""
        return tuple(run for variant in self.variants for run in variant.runs)

    @property
    def failed(self) -> tuple[Run, ...]:
        """The runs that failed."""
        return tuple(run for run in self.runs if not run.done)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The commits and machines of all runs, each pair once."""
        return tuple(dict.fromkeys(origin for run in self.runs for origin in run.origins))

    def to_json(self) -> dict[str, Any]:
        """Plain values, `origins` among them; numbers that aren't finite become None."""
        plain: dict[str, Any] = finite({**asdict(self), "origins": [asdict(one) for one in self.origins]})
        return plain

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Results:
        """The results that `to_json` gave.

        Raises:
            InputError: it holds something else.
        """
        try:
            variants = tuple(
                Variant(**{**variant, "runs": tuple(Run.from_json(run) for run in variant["runs"])})
                for variant in content["variants"]
            )
            parts = {
                "machine": None if content["machine"] is None else Machine(**content["machine"]),
                "dataset": Dataset(**content["dataset"]),
                "labels": tuple(content["labels"]),
                "variants": variants,
            }
            told = {name: value for name, value in content.items() if name != "origins"}  # which the runs have
            return cls(**{**told, **parts})
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"these aren't the results of an experiment ({error}); run it again") from error


def finite(value: Any) -> Any:
    """The value with None for every number in it that JSON can't hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value


def write_results(results: Results, output_dir: Path) -> None:
    """Writes `results.json` and `results.csv`, a row for each variant, fold, case and label.

    Raises:
        ConfigError: the folder can't be written; what was there before stays.
    """
    text = json.dumps(results.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        write_whole(output_dir / RESULTS, [text])
        write_whole(output_dir / TABLE, [_table(results)])
    except OSError as error:
        raise ConfigError(f"{output_dir}: can't be written ({error.strerror}); free space and run again") from error


def read_results(output_dir: Path) -> Results:
    """The results in a folder.

    Raises:
        InputError: there are none, or they are damaged.
    """
    file = output_dir / RESULTS
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such results; `radseg experiment` writes them") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: isn't JSON that can be read ({error}); run the experiment again") from error
    try:
        return Results.from_json(content)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _table(results: Results) -> str:
    rows = [(variant, run, row) for variant in results.variants for run in variant.runs for row in run.rows]
    names = list(dict.fromkeys(name for _, _, row in rows for name in row.metrics))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["variant", "fold", "case", "label", *names])
    for variant, run, row in rows:
        values = (finite(row.metrics.get(name)) for name in names)
        writer.writerow([variant.name, run.fold, row.case, row.label, *values])
    return text.getvalue()
