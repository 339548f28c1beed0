"""Takes images to a folder a case, each finished or not there at all, and to a line each in the manifest."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from radseg.pipelines.case_work import CaseWorker, Statistics, Work
from radseg.pipelines.cases import Case, Refusal
from radseg.pipelines.console import bars_shown
from radseg.pipelines.conveyor import Station, convey
from radseg.pipelines.dicom_out.writer import DicomOut
from radseg.pipelines.engine import Predictor
from radseg.pipelines.errors import ConfigError, RadsegError, one_line
from radseg.pipelines.hiding import files_of, without_paths
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.io.store.local_copy import called, with_urls
from radseg.pipelines.live_table import LiveTable, Working
from radseg.pipelines.manifest import Manifest
from radseg.pipelines.plausibility import Plausibility
from radseg.pipelines.provenance import Provenance
from radseg.pipelines.refusals import Refusals
from radseg.pipelines.report.case_page import CasePage
from radseg.pipelines.report.index_page import write_index
from radseg.pipelines.report.summary import write_summary

Driver = Callable[[CaseWorker, Iterator[Work]], Iterator[Work]]
"""Takes cases through a worker's steps and gives each back when it has ended, in any order."""


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
        dicom_out: what is written in DICOM, and where it is sent; nothing by default.
        case_page: the page of each case; none by default.
        plausibility: says what is out of place in an image; nothing by default.

    Raises:
        ConfigError: no worker at all, or names on the pages of cases whose identities are to be taken out.
    """

    def __init__(
        self,
        cases: Iterable[Case | Refusal],
        predictor: Predictor,
        statistics: Statistics,
        output_dir: Path | str,
        bundle_root: Path | str,
        weights: Path | str | Sequence[Path | str],
        labels: Sequence[str],
        overrides: Mapping[str, Any],
        preview_window_hu: Sequence[float] = (-1000.0, 1000.0),
        overwrite: bool = False,
        workers: int = 1,
        progress: bool = True,
        dicom_out: DicomOut | None = None,
        case_page: CasePage | None = None,
        plausibility: Plausibility | None = None,
    ) -> None:
        self.cases = cases
        self.destination = Destination(output_dir)
        self.output_dir = self.destination.local
        if workers < 1:
            raise ConfigError(f"workers is {workers}; at least one case at a time must be worked on")
        self.workers = workers
        self.progress = progress
        self.dicom_out = dicom_out or DicomOut()
        if case_page is not None and case_page.with_identity and self.dicom_out.key is not None:
            raise ConfigError("with_identity and deidentify contradict each other; leave one out")
        recipe = [predictor.recipe, statistics, list(labels), plausibility]
        file = self.output_dir / "manifest.jsonl"
        self.manifest = Manifest(file, lambda: self.destination.publish([file.name]))
        self.worker = CaseWorker(
            predictor,
            statistics,
            self.destination,
            labels,
            dataclasses.asdict(Provenance.of(bundle_root, weights, recipe, overrides)),
            (float(preview_window_hu[0]), float(preview_window_hu[1])),
            overwrite,
            self.dicom_out,
            self.manifest.append,
            case_page,
            plausibility,
        )

    def run(self, driver: Driver | None = None) -> Batch:
        """Works through all cases.

        Args:
            driver: takes the cases through their steps; by default threads of this process.

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
        with ExitStack() as at_the_end, LiveTable(bars_shown(self.progress)) as table:
            at_the_end.callback(self._sum_up, batch)
            lines: dict[str, Working] = {}
            lost: list[RadsegError] = []
            works = self._works(batch, table, lines, lost)
            for work in (driver or self._in_threads)(self.worker, works):
                table.end(lines.pop(work.case.name), _note(work, batch))
                if isinstance(work.outcome, str) and self.progress:
                    table.print(f"failed {work.case.name}: {work.outcome}")
        if lost:
            raise lost[0]
        if note := getattr(self.cases, "note", ""):
            batch.notes.append(note)
        return batch

    def _in_threads(self, worker: CaseWorker, works: Iterator[Work]) -> Iterator[Work]:
        # each worker gets its share of the cores: threads that wait for another's core cost more than they gain
        threads = torch.get_num_threads()
        share = partial(torch.set_num_threads, max(1, threads // self.workers))
        stations = (Station(worker.read), Station(worker.predict, self.workers, share), Station(worker.write))
        try:
            yield from convey(works, stations)
        finally:
            torch.set_num_threads(threads)

    def _sum_up(self, batch: Batch) -> None:
        """Makes the table and the page of all cases that the manifest has."""
        try:
            rows = self._with_what_is_there(batch)
            write_summary(self.output_dir, rows)
            write_index(self.output_dir, rows, self.destination.names if self.destination.url else None)
            self.destination.publish(["summary.csv", "index.html"])
        except (OSError, RadsegError) as error:
            batch.notes.append(f"summary.csv and index.html can't be written ({one_line(error)}); run again for them")

    def _with_what_is_there(self, batch: Batch) -> list[dict[str, Any]]:
        """The manifest, in which a result that was found whole stands again after a run in between that failed."""
        rows = self.manifest.read()
        lines = {row.get("case"): row for row in rows if row.get("status") in ("done", "failed")}
        done = {row.get("case"): row for row in rows if row.get("status") == "done"}
        for name in batch.skipped:
            if name in done and lines[name]["status"] == "failed":
                self.manifest.append(done[name])
                rows.append(done[name])
        return rows

    def _works(
        self, batch: Batch, table: LiveTable, lines: dict[str, Working], lost: list[RadsegError]
    ) -> Iterator[Work]:
        """The work of a batch; what ends the search, such as an archive that is gone, waits in `lost` for its end."""
        rows = self.manifest.read()
        finished = {row.get("case"): row for row in rows if row.get("status") == "done"}
        refusals, usable = Refusals(rows), set()
        cases = iter(self.cases)
        while (case := _next(cases, lost)) is not None:
            table.found(getattr(self.cases, "share", 0.0))
            if isinstance(case, Refusal):
                self._refuse(case, batch, refusals)
                table.refused()
                continue
            usable.add(self._input(case))
            name, source = case.name, called(case.source)
            batch.sources[name] = case.source if source == str(case.source) else source
            if self.dicom_out.deidentifier is not None:
                del batch.sources[name]
                case = replace(case, name=self.dicom_out.hidden(name)[:12])
                name = batch.sources[case.name] = case.name
            line = lines[name] = table.start(name)
            yield Work(case, finished.get(name), partial(table.say, line))
        for row in refusals.withdrawn(usable):
            self.manifest.append(row)

    def _refuse(self, refusal: Refusal, batch: Batch, refusals: Refusals) -> None:
        source, reason, told = called(refusal.source), with_urls(refusal.reason), self._input(refusal)
        recorded = reason.replace(source, "the input")
        if self.dicom_out.deidentifier is not None:
            source = f"input {told}"
            reason = recorded = without_paths(recorded, files_of(refusal.source), "the input")
        known = batch.refused.get(source)
        batch.refused[source] = reason if known in (None, reason) else f"{known}; {reason}"
        for row in refusals.lines(told, recorded):
            self.manifest.append(row)

    def _input(self, one: Case | Refusal) -> str:
        """What the manifest calls a series, or another file or folder, that is or was refused."""
        what = one.series_uid or called(one.source)
        return self.dicom_out.hidden(hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest())[:12]


def _next(cases: Iterator[Case | Refusal], lost: list[RadsegError]) -> Case | Refusal | None:
    """The next of the cases, None at their end or when they are lost, which is noted."""
    try:
        return next(cases, None)
    except RadsegError as error:
        lost.append(error)
        return None


def _note(work: Work, batch: Batch) -> bool | str:
    """Takes a case that has ended into the batch, and gives its outcome."""
    name, row = work.case.name, work.row
    if isinstance(work.outcome, str):
        batch.failed[name] = work.outcome
        return work.outcome
    if not work.outcome:
        batch.skipped.append(name)
        return False
    batch.done.append(name)
    batch.warnings |= {name: row["warnings"]} if row["warnings"] else {}
    batch.notes += [note for note in row["engine"]["notes"] if note not in batch.notes]
    return True
