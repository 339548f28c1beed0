"""Takes images to a folder a case, each finished or not there at all, and to a line each in the manifest."""

import dataclasses
import hashlib
import logging
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.case_folder import CASE_FILES, case_folder, recover, write_case
from radseg.pipelines.cases import Case, Refusal, digest
from radseg.pipelines.console import bars_shown, console
from radseg.pipelines.conveyor import Station, convey
from radseg.pipelines.engine import Prediction, Predictor
from radseg.pipelines.errors import ConfigError, InputError, RadsegError, one_line
from radseg.pipelines.io import Volume
from radseg.pipelines.io.destination import Destination
from radseg.pipelines.io.local_copy import called, with_urls
from radseg.pipelines.manifest import Manifest
from radseg.pipelines.provenance import Provenance

_logger = logging.getLogger("radseg.segment")


class _Statistics(Protocol):
    def __call__(self, mask: npt.NDArray[np.uint8], volume: Volume, case: str) -> dict[str, Any]: ...


@dataclass
class Batch:
    """How a batch of cases ended.

    Attributes:
        output_dir: where the case folders and the manifest are; of a URL, the local folder that they are uploaded from.
        destination: where they are for the user: the folder, or the URL.
        done: names of the cases segmented now.
        skipped: names of the cases that an earlier run had finished.
        failed: name and reason of each case that failed.
        refused: source and reason of each input that isn't a case.
        warnings: name and notes of each case whose image is doubtful.
        sources: name and path or URL of each case.
        notes: what the engine had to do otherwise than asked for, such as going on without OpenVINO.
    """

    output_dir: Path
    destination: str = ""
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    sources: dict[str, Path | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every case is there and there was at least one."""
        return not self.failed and bool(self.done or self.skipped)


@dataclass
class _Work:
    """A case on its way: what is known of it grows from station to station; with an outcome the rest is passed by."""

    case: Case
    bar: Progress
    task: TaskID
    earlier: Mapping[str, Any] | None
    row: dict[str, Any]
    volume: Volume | None = None
    prediction: Prediction | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    outcome: bool | str | None = None  # True done now, False done before, else why it failed

    def say(self, text: str) -> None:
        self.bar.update(self.task, description=f"{self.case.name}: {text}")


class Segmenter:
    """Takes each case through the predictor and leaves its folder and its line in the manifest.

    The next case is read while one is segmented and the last one written, so up to `workers` + 2 images are in memory.
    A case that the manifest has as done with the same input, weights and settings is passed over, so a killed run
    started again does only what is left. A case that fails is reported, and the batch goes on.

    Args:
        cases: cases and refusals, as `cases.discover` gives them.
        predictor: image to mask.
        statistics: mask to numbers.
        output_dir: folder of the results, or its URL: each case is uploaded when it is whole, then the manifest.
        bundle_root: folder of the bundle, for its name and version.
        weights: the weights file or files, for their sha256.
        labels: names of the labels 1, 2, ….
        overrides: what a verb changed in the config; recorded.
        preview_window_hu: lower and upper HU of the grey scale in the preview.
        overwrite: replace results that are there.
        workers: cases at a time.
        progress: show what is being done.
    """

    def __init__(
        self,
        cases: Iterable[Case | Refusal],
        predictor: Predictor,
        statistics: _Statistics,
        output_dir: Path | str,
        bundle_root: Path | str,
        weights: Path | str | Sequence[Path | str],
        labels: Sequence[str],
        overrides: Mapping[str, Any],
        preview_window_hu: Sequence[float] = (-1000.0, 1000.0),
        overwrite: bool = False,
        workers: int = 1,
        progress: bool = True,
    ) -> None:
        self.cases = cases
        self.predictor = predictor
        self.statistics = statistics
        self.destination = Destination(output_dir)
        self.output_dir = self.destination.local
        self.labels = list(labels)
        self.preview_window_hu = (float(preview_window_hu[0]), float(preview_window_hu[1]))
        self.overwrite = overwrite
        if workers < 1:
            raise ConfigError(f"workers is {workers}; at least one case at a time must be worked on")
        self.workers = workers
        self.progress = progress
        recipe = [predictor.recipe, statistics, self.labels]
        self.provenance = dataclasses.asdict(Provenance.of(bundle_root, weights, recipe, overrides))
        file = self.output_dir / "manifest.jsonl"
        self.manifest = Manifest(file, lambda: self.destination.publish([file.name]))

    def run(self) -> Batch:
        """Works through all cases.

        Raises:
            ConfigError: the output folder can't be written.
            InputError: an input or output store can't be reached.
        """
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self.destination.fetch([self.manifest.file.name])
            self.manifest.file.open("ab").close()
            self.destination.publish([self.manifest.file.name])
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"{self.destination}: can't be written ({reason}); choose another output") from error
        batch = Batch(self.output_dir, str(self.destination))
        finished = {row["case"]: row for row in self.manifest.read() if row.get("status") == "done"}
        refused_before = {row["input"] for row in self.manifest.read() if row.get("status") == "refused"}
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        shown = bars_shown(self.progress)
        with Progress(*columns, console=console(), transient=True, disable=not shown) as bar:
            overall = bar.add_task("0 done")
            for case, outcome in self._outcomes(batch, finished, refused_before, bar):
                if isinstance(outcome, str):
                    batch.failed[case] = outcome
                    if self.progress:
                        bar.console.print(f"failed {case}: {outcome}", highlight=False, soft_wrap=True, markup=False)
                elif outcome:
                    batch.done.append(case)
                else:
                    batch.skipped.append(case)
                ended = f"{len(batch.done)} done, {len(batch.skipped)} done before, {len(batch.failed)} failed"
                bar.update(overall, description=ended)
        return batch

    def _outcomes(
        self, batch: Batch, finished: Mapping[str, Any], refused_before: set[str], bar: Progress
    ) -> Iterator[tuple[str, bool | str]]:
        """Each case with True (done now), False (done before) or why it failed, as they end."""
        # each worker gets its share of the cores: threads that wait for another's core cost more than they gain
        threads = torch.get_num_threads()
        share = partial(torch.set_num_threads, max(1, threads // self.workers))
        stations = (
            Station(partial(self._guarded, self._read)),
            Station(partial(self._guarded, self._predict), self.workers, share),
            Station(partial(self._guarded, self._write)),
        )
        for work in convey(self._works(batch, finished, refused_before, bar), stations):
            bar.remove_task(work.task)
            outcome = True if work.outcome is None else work.outcome
            if outcome is True:
                batch.warnings |= {work.case.name: work.row["warnings"]} if work.row["warnings"] else {}
                batch.notes += [note for note in work.row["engine"]["notes"] if note not in batch.notes]
            yield work.case.name, outcome
        torch.set_num_threads(threads)

    def _works(
        self, batch: Batch, finished: Mapping[str, Any], refused_before: set[str], bar: Progress
    ) -> Iterator[_Work]:
        for case in self.cases:
            if isinstance(case, Refusal):
                self._refuse(case, batch, refused_before)
                continue
            name = called(case.source)
            batch.sources[case.name] = case.source if name == str(case.source) else name
            row = {"case": case.name, "kind": str(case.kind)}
            yield _Work(case, bar, bar.add_task(f"{case.name}: waiting"), finished.get(case.name), row)

    def _refuse(self, refusal: Refusal, batch: Batch, refused_before: set[str]) -> None:
        source, reason = called(refusal.source), with_urls(refusal.reason)
        batch.refused[source] = reason
        told = hashlib.sha256((refusal.series_uid or source).encode()).hexdigest()[:12]
        if told not in refused_before:
            reason = reason.replace(source, "the input")
            self.manifest.append({"status": "refused", "input": told, "reason": reason})

    def _guarded(self, station: Any, work: _Work) -> None:
        """Runs a station on a case that has no outcome yet; an error becomes its outcome and its line."""
        if work.outcome is not None:
            return
        try:
            station(work)
        except Exception as error:
            _logger.debug("case failed", exc_info=True)
            reason = with_urls(one_line(error))
            if isinstance(error, MemoryError):
                reason = f"{called(work.case.source)}: larger than the memory at hand; crop it or use a larger machine"
            # paths may name a patient: they are shown, not recorded
            self._note_failure(work.row, reason.replace(f"{with_urls(work.case.source.parent)}{os.sep}", ""))
            work.outcome = reason
        if work.outcome is not None:
            work.volume = work.prediction = None

    def _is_there(self, name: str, row: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> bool:
        """Whether this very result is already there.

        Raises:
            InputError: another result is there, and overwriting wasn't asked for.
        """
        folder = self.output_dir / name
        recover(self.output_dir, name)
        there = self.destination.names(name)
        if there is None:
            return False
        if there - CASE_FILES or folder.is_file():  # overwriting would take somebody's images
            raise InputError(f"{folder}: holds files that aren't a case's results; choose another output")
        if self.overwrite or (earlier is not None and not _is_whole(there)):
            return False
        recorded = earlier
        if "statistics.json" in there and (earlier is None or self.destination.url is None):
            # a run killed between the rename and the line left a folder that the manifest doesn't know
            self.destination.fetch([f"{name}/statistics.json"])
            recorded = read_json(folder / "statistics.json")
        if recorded is None and self.destination.url is not None:  # killed during the upload
            return False
        same = ("input_sha256", "bundle", "bundle_version", "weights_sha256", "recipe_sha256")
        if recorded is not None and all(recorded.get(key) == row[key] for key in same):
            if earlier is None or any(earlier.get(key) != row[key] for key in same):
                late = {"labels": recorded["labels"], "warnings": ["line written after an interruption"]}
                self.manifest.append({"status": "done", **row, **late})
            return True
        raise InputError(f"{folder}: there is already a result of other input, weights or settings; use --overwrite")

    def _read(self, work: _Work) -> None:
        work.say("reading")
        start = time.monotonic()
        work.row |= {"input_sha256": digest(work.case), **self.provenance}
        if self._is_there(work.case.name, work.row, work.earlier):
            work.outcome = False
            return
        work.volume = self.predictor.loader.load_image(work.case)
        work.seconds["read"] = time.monotonic() - start

    def _predict(self, work: _Work) -> None:
        assert work.volume is not None
        work.say("segmenting")
        work.prediction = self.predictor(
            work.volume, progress=lambda done, total: work.say(f"segmenting, window {done} of {total}")
        )
        work.seconds |= work.prediction.seconds

    def _write(self, work: _Work) -> None:
        assert work.volume is not None
        assert work.prediction is not None
        work.say("writing")
        start = time.monotonic()
        volume, prediction, name = work.volume, work.prediction, work.case.name
        measured = self.statistics(prediction.mask, volume, name)
        warnings = list(dict.fromkeys((*volume.notes, *measured.pop("warnings", ()))))
        statistics = {**work.row, **measured, "warnings": warnings}
        if prediction.uncertainty is not None:
            statistics["confidence"] = prediction.confidence
        try:
            with case_folder(self.output_dir, name) as folder:
                write_case(
                    folder, work.case, volume, prediction.mask, self.labels, statistics, self.preview_window_hu,
                    prediction.uncertainty,
                )  # fmt: skip
        except OSError as error:
            reason = f"can't be written ({error.strerror}); free some space or choose another output"
            raise InputError(f"{self.output_dir}: {reason}") from error
        self.destination.publish_case(name, last="statistics.json")
        work.seconds["write"] = time.monotonic() - start
        work.row |= {
            "seconds": {stage: round(value, 3) for stage, value in work.seconds.items()},
            "peak_memory_mb": round(_peak_memory_mb()),
            "engine": dataclasses.asdict(prediction.effort),
            "labels": statistics["labels"],
            "warnings": warnings,
        }
        work.volume = work.prediction = None
        self.manifest.append({"status": "done", **work.row})

    def _note_failure(self, row: Mapping[str, Any], reason: str) -> None:
        try:
            self.manifest.append({"status": "failed", **row, "reason": reason})
        except (OSError, RadsegError):
            _logger.warning("the manifest can't be written")


def _is_whole(names: set[str]) -> bool:
    """Whether a case's folder holds all its files; somebody may have taken one away."""
    return {"preview.png", "statistics.json"} <= names and bool({"mask.nii.gz", "mask.png"} & names)


def _peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (ru_maxrss is in KiB on Linux, in bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
