"""One run of an experiment: a variant trained on a fold, scored on the cases left out; done with its `run.json`."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.errors import ConfigError, WeightsError, one_line
from radseg.pipelines.evaluate import evaluate
from radseg.pipelines.experiments.machine import origin_here
from radseg.pipelines.experiments.notes import notes_on, notes_on_training
from radseg.pipelines.experiments.progress import Progress
from radseg.pipelines.experiments.results import Row, Run, finite
from radseg.pipelines.progress_lines import tell
from radseg.pipelines.report.atomic import write_whole
from radseg.pipelines.train import Training, train

_logger = logging.getLogger("radseg.experiments")

DONE = "run.json"
FAILED = "failed.json"


@dataclass(frozen=True)
class Job:
    """What a run needs to know.

    Attributes:
        bundle: name or folder; its config and the overrides are trusted.
        variant: name of the variant.
        fold: number of the fold.
        folder: the run's, `<output_dir>/<variant>/fold_<K>`.
        datalist: the fold's, whose `test` is scored.
        dataset_dir: folder or URL that its paths start from.
        train: overrides of train.json.
        evaluate: overrides of evaluate.json.
        progress: show bars and a line an epoch.
    """

    bundle: str
    variant: str
    fold: int
    folder: str
    datalist: str
    dataset_dir: str
    train: Mapping[str, Any]
    evaluate: Mapping[str, Any]
    progress: bool = True

    @property
    def place(self) -> Path:
        """The run's folder."""
        return Path(self.folder)


@dataclass(frozen=True)
class Record:
    """A run that ended, and how many parameters its network has: trained ones, and all as `Variant` counts them."""

    run: Run
    parameters: int | None
    total_parameters: int | None = None


def run(job: Job) -> Record:
    """Trains and scores, through the verbs `train` and `evaluate`; goes on from `last.pt` if that is there.

    What a run leaves in its folder: `model.pt`, `last.pt` and `history.json` of the training, `evaluation/metrics.json`
    and `.csv`, and last of all `run.json`; of a run that failed `failed.json`, and the next one tries again. A run that
    is done isn't run again.

    Returns:
        What is also written; of a run that failed, with the error in a line.

    Raises:
        ConfigError: the folder can't be written.
    """
    earlier = read_run(job.place)
    if earlier is not None and earlier.run.done:
        return earlier
    try:
        job.place.mkdir(parents=True, exist_ok=True)
        (job.place / FAILED).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{job.place}: can't be written ({error.strerror}); choose another --output") from error
    progress = Progress(job.place)
    try:
        goes_on = progress.trained or (job.place / "last.pt").is_file()
        progress.note_start(origin_here(str(job.train.get("device", "auto"))), goes_on)
        if not progress.trained:
            with progress.timed("train"):
                trained = _train(job)
            progress.note_training(_parameters(job), _best_epoch(job.place), trained.absent_labels)
        tell(f"{job.variant}, fold {job.fold}: trained; predicting the cases it is tested on", job.progress)
        with progress.timed("evaluate"):
            metrics = _evaluate(job)
    except Exception as error:
        _logger.debug("%s, fold %d failed", job.variant, job.fold, exc_info=True)
        return fail(job, one_line(error))
    rows = tuple(Row(**{**row, "metrics": finite(row["metrics"])}) for row in metrics["rows"])
    notes = (*notes_on_training(progress.absent_labels), *notes_on(rows))
    ended = _ended(job, progress, status="done", rows=rows, notes=notes)
    _write(job.place / DONE, ended)
    return ended


def fail(job: Job, reason: str) -> Record:
    """Records that a run failed, and why, in a line.

    Raises:
        ConfigError: the folder can't be written.
    """
    ended = _ended(job, Progress(job.place), status="failed", error=reason)
    _write(job.place / FAILED, ended)
    return ended


def read_run(folder: Path) -> Record | None:
    """The run that ended in a folder, None if there is none.

    Raises:
        ConfigError: its record is damaged.
    """
    for name in (DONE, FAILED):
        file = folder / name
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return Record(Run.from_json(content["run"]), content["parameters"], content.get("total_parameters"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{file}: damaged ({type(error).__name__}); delete {folder} to run it again") from error
    return None


def _train(job: Job) -> Training:
    resume = (job.place / "last.pt").is_file()
    own = {"output_dir": job.folder, "resume": resume, "overwrite": not resume}
    return train(job.bundle, trust_config=True, **{**job.train, **_where(job), **own})


def _evaluate(job: Job) -> dict[str, Any]:
    weights = job.place / "model.pt"
    if not weights.is_file():
        raise WeightsError(f"{weights}: missing, though the training ended; delete {job.place} to train it again")
    places = {"weights": str(weights), "split": "test", "output_dir": str(job.place / "evaluation")}
    return evaluate(job.bundle, trust_config=True, **{**job.evaluate, **_where(job), **places})


def _where(job: Job) -> dict[str, Any]:
    return {"dataset_dir": job.dataset_dir, "datalist": job.datalist, "progress": job.progress}


def _parameters(job: Job) -> tuple[int, int] | None:
    """Trained and all parameters of the variant's network, where the config defines one by the usual name."""
    parser = load_workflow(job.bundle, "train", job.train, trust_config=True).parser
    if "network_def" not in parser.config:
        return None
    network: torch.nn.Module = parser.get_parsed_content("network_def")
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    statistics = ("running_mean", "running_var")
    counted = [one.numel() for name, one in network.named_buffers() if name.rpartition(".")[2] in statistics]
    return trained, sum(parameter.numel() for parameter in network.parameters()) + sum(counted)


def _best_epoch(folder: Path) -> int:
    saved = torch.load(folder / "last.pt", map_location="cpu", weights_only=True)
    return int(saved["best_metric_epoch"])


def _ended(job: Job, progress: Progress, **outcome: Any) -> Record:
    epochs: list[dict[str, float]] = []
    file = job.place / "history.json"
    if file.is_file():
        epochs = json.loads(file.read_text(encoding="utf-8"))["epochs"]
    ran = Run(
        fold=job.fold,
        folder=f"{job.place.parent.name}/{job.place.name}",
        epochs=len(epochs),
        best_epoch=progress.best_epoch,
        seconds=progress.seconds,
        peak_memory_bytes=progress.peak_memory_bytes,
        peak_gpu_memory_bytes=progress.peak_gpu_memory_bytes,
        history=tuple(finite(epochs)),
        origins=progress.origins,
        ended=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **outcome,
    )
    return Record(ran, progress.parameters, progress.total_parameters)


def _write(file: Path, record: Record) -> None:
    counts = {"parameters": record.parameters, "total_parameters": record.total_parameters}
    content = finite({**counts, "run": asdict(record.run)})
    try:
        write_whole(file, [json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"])
    except OSError as error:
        raise ConfigError(f"{file}: can't be written ({error.strerror}); free space and run again") from error
