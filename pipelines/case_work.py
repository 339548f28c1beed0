"""One case from its files to its finished folder, in three steps that can run side by side for different cases."""

import dataclasses
import logging
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.case_folder import CASE_FILES, case_folder, recover, write_case
from radseg.pipelines.cases import Case, digest
from radseg.pipelines.confidence import doubt_of, doubtful_regions
from radseg.pipelines.dicom_out.writer import DicomOut
from radseg.pipelines.engine import Prediction, Predictor
from radseg.pipelines.errors import InputError, RadsegError, one_line
from radseg.pipelines.hiding import as_zipped, without_folders, without_paths
from radseg.pipelines.io import Volume
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.io.store.local_copy import called, with_urls
from radseg.pipelines.plausibility import Plausibility
from radseg.pipelines.report.case_page import CasePage

_logger = logging.getLogger("radseg.segment")

_SAME = ("input_sha256", "bundle", "bundle_version", "weights_sha256", "recipe_sha256")

_KINDS = ("seg_type", "with_identity")
"""What a case's files may be of another kind in, than an earlier run was asked for."""


class Statistics(Protocol):
    """Mask to numbers."""

    def __call__(self, mask: npt.NDArray[np.uint8], volume: Volume, case: str) -> dict[str, Any]:
        """Numbers and "labels" and "warnings" of a case."""


@dataclass
class Work:
    """A case on its way: what is known of it grows from step to step; with an outcome the rest is passed by.

    Attributes:
        case: what is segmented.
        earlier: its line of an earlier run that finished it.
        flags: what is out of place in its image, a sentence each.
        say: told in a few words what is being done.
        row: its line in the manifest, as far as it is known.
        outcome: True done now, False done before, else why it failed; None before its end.
    """

    case: Case
    earlier: Mapping[str, Any] | None = None
    say: Callable[[str], None] = lambda text: None
    row: dict[str, Any] = field(default_factory=dict)
    volume: Volume | None = None
    flags: list[str] = field(default_factory=list)
    prediction: Prediction | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    outcome: bool | str | None = None

    def __post_init__(self) -> None:
        self.row = {"case": self.case.name, "kind": str(self.case.kind), **self.row}


class CaseWorker:
    """Takes a case through the predictor and leaves its folder.

    Args:
        predictor: image to mask.
        statistics: mask to numbers.
        destination: where case folders go.
        labels: names of the labels 1, 2, ….
        provenance: what made the masks, recorded with each.
        preview_window_hu: lower and upper HU of the grey scale in the preview.
        overwrite: replace results that are there.
        dicom_out: what is written in DICOM, and where it is sent.
        record: takes the line of a case that ended.
        case_page: the page of each case; none by default.
        plausibility: says what is out of place in an image; nothing by default.
    """

    def __init__(
        self,
        predictor: Predictor,
        statistics: Statistics,
        destination: Destination,
        labels: Sequence[str],
        provenance: Mapping[str, Any],
        preview_window_hu: tuple[float, float],
        overwrite: bool,
        dicom_out: DicomOut,
        record: Callable[[Mapping[str, Any]], None],
        case_page: CasePage | None = None,
        plausibility: Plausibility | None = None,
    ) -> None:
        self.predictor = predictor
        self.statistics = statistics
        self.destination = destination
        self.labels = list(labels)
        self.provenance = provenance
        self.preview_window_hu = preview_window_hu
        self.overwrite = overwrite
        self.dicom_out = dicom_out
        self.record = record
        self.case_page = case_page or CasePage()
        self.plausibility = plausibility or Plausibility([])

    def read(self, work: Work) -> None:
        """Reads the image, or finds that its result is there; an error becomes the outcome."""
        self._guarded(self._read, work)

    def predict(self, work: Work) -> None:
        """Segments what was read."""
        self._guarded(self._predict, work)

    def write(self, work: Work) -> None:
        """Writes, and sends if that is wanted, and records."""
        self._guarded(self._write, work)

    def _guarded(self, step: Callable[[Work], None], work: Work) -> None:
        """Takes a step with a case that has no outcome yet; an error becomes its outcome and its line."""
        if work.outcome is not None:
            return
        try:
            step(work)
        except Exception as error:
            _logger.debug("case failed", exc_info=self.dicom_out.deidentifier is None)
            reason = with_urls(one_line(error))
            if isinstance(error, MemoryError):
                reason = f"{called(work.case.source)}: larger than the memory at hand; crop it or use a larger machine"
            self.fail(work, reason)
        if work.outcome is not None:
            work.volume = work.prediction = None

    def fail(self, work: Work, reason: str) -> None:
        """Ends a case with why it failed, and records that."""
        work.outcome = self.told(work.case, reason)
        self._record_failure(work.row, without_folders(work.outcome, work.case))

    def told(self, case: Case, reason: str) -> str:
        """A reason as it may be shown: with the case's name for its path where identities are taken out."""
        if self.dicom_out.deidentifier is None:
            return as_zipped(reason, case)
        return without_paths(reason, [*case.files, case.source], case.name)

    def _read(self, work: Work) -> None:
        work.say("reading")
        start = time.monotonic()
        states = _states(work.case)
        work.row |= {"input_sha256": self.dicom_out.hidden(digest(work.case)), **self.provenance}
        work.row |= self.dicom_out.recorded(work.case) | self.case_page.recorded()
        if self._is_there(work):
            work.outcome = False
            return
        work.volume = self.predictor.loader.load_image(work.case)
        if _states(work.case) != states:
            raise InputError(f"{work.case.source}: changed while it was read; wait until it is whole, then run again")
        work.flags = self.plausibility(work.volume, work.case.files)
        work.seconds["read"] = time.monotonic() - start

    def _is_there(self, work: Work) -> bool:
        """Whether this very result is already there; if it hasn't been sent or recorded yet, it is now.

        Raises:
            InputError: another result is there, and overwriting wasn't asked for.
        """
        name, row, earlier = work.case.name, work.row, work.earlier
        folder = self.destination.local / name
        recover(self.destination.local, name)
        there = self.destination.names(name)
        if there is None:
            return False
        if there - CASE_FILES or folder.is_file():  # overwriting would take somebody's images
            raise InputError(f"{folder}: holds files that aren't a case's results; choose another output")
        whole = _is_whole(there, self.dicom_out.files(work.case) | self.case_page.files())
        if self.overwrite or (earlier is not None and not whole):
            return False
        recorded = earlier
        if "statistics.json" in there and (earlier is None or self.destination.url is None):
            # a run killed between the rename and the line left a folder that the manifest doesn't know
            self.destination.fetch([f"{name}/statistics.json"])
            recorded = read_json(folder / "statistics.json")
        if recorded is None and self.destination.url is not None:  # killed during the upload
            return False
        if recorded is None or any(recorded.get(key) != row[key] for key in _SAME):
            there_is = "there is already a result of other input, weights or settings; use --overwrite"
            raise InputError(f"{folder}: {there_is}")
        if not whole or any(recorded.get(key) != row.get(key, recorded.get(key)) for key in _KINDS):
            return False
        known = earlier is not None and all(earlier.get(key) == row[key] for key in _SAME)
        sent = self._send_if_not_yet(work, earlier)
        if sent or not known:
            late = [] if known else ["line written after an interruption"]
            extra = {"sent_to": self.dicom_out.send_to} if sent else {}
            labels = {"labels": recorded["labels"], "warnings": [*recorded.get("warnings", ()), *late]}
            labels |= {"flags": recorded.get("flags", [])}
            self.record({"status": "done", **row, **labels, **extra})
        return True

    def _send_if_not_yet(self, work: Work, earlier: Mapping[str, Any] | None) -> bool:
        if self.dicom_out.send_to is None or (earlier or {}).get("sent_to") == self.dicom_out.send_to:
            return False
        name = work.case.name
        self.destination.fetch(f"{name}/{file}" for file in sorted(self.dicom_out.files(work.case)))
        work.say("sending")
        return self.dicom_out.send(self.destination.local / name, work.case)

    def _predict(self, work: Work) -> None:
        assert work.volume is not None
        work.say("segmenting")
        work.prediction = self.predictor(
            work.volume, progress=lambda done, total: work.say(f"segmenting, window {done} of {total}")
        )
        work.seconds |= work.prediction.seconds

    def _write(self, work: Work) -> None:
        assert work.volume is not None
        assert work.prediction is not None
        work.say("writing")
        start = time.monotonic()
        volume, prediction, name = work.volume, work.prediction, work.case.name
        measured = self.statistics(prediction.mask, volume, name)
        warnings = list(dict.fromkeys((*work.flags, *volume.notes, *measured.pop("warnings", ()))))
        statistics = {**work.row, **measured, "flags": work.flags, "warnings": warnings}
        statistics |= doubtful_regions(prediction, volume, self.labels)
        if prediction.temperature != 1:
            statistics["temperature"] = prediction.temperature
        if prediction.uncertainty is not None:
            statistics["confidence"] = prediction.confidence
        doubt = doubt_of(prediction) if self.case_page.wanted else None
        try:
            with case_folder(self.destination.local, name) as folder:
                write_case(
                    folder, work.case, volume, prediction.mask, self.labels, statistics, self.preview_window_hu,
                    prediction.uncertainty,
                )  # fmt: skip
                self.dicom_out.write(folder, work.case, volume, prediction, statistics)
                self.case_page.write(
                    folder, work.case, volume, prediction.mask, statistics, work.seconds,
                    dataclasses.asdict(prediction.effort), str(self.predictor.device), doubt.values if doubt else None,
                    doubt.said if doubt else "",
                )  # fmt: skip
        except OSError as error:
            reason = f"can't be written ({error.strerror}); free some space or choose another output"
            raise InputError(f"{self.destination.local}: {reason}") from error
        self.destination.publish_case(name, last="statistics.json")
        effort = dataclasses.asdict(prediction.effort)
        volume = prediction = doubt = work.volume = work.prediction = None  # type: ignore[assignment]
        work.say("sending")
        sent = self.dicom_out.send(self.destination.local / name, work.case)
        work.seconds["write"] = time.monotonic() - start
        work.row |= {
            "seconds": {stage: round(value, 3) for stage, value in work.seconds.items()},
            "peak_memory_mb": round(_peak_memory_mb()),
            "engine": effort,
            "labels": statistics["labels"],
            "flags": work.flags,
            "warnings": warnings,
            **({"sent_to": self.dicom_out.send_to} if sent else {}),
        }
        work.outcome = True
        self.record({"status": "done", **work.row})

    def _record_failure(self, row: Mapping[str, Any], reason: str) -> None:
        try:
            self.record({"status": "failed", **row, "reason": reason})
        except (OSError, RadsegError):
            _logger.warning("the manifest can't be written")


def _states(case: Case) -> list[tuple[int, int]]:
    """Size and time of change of a case's files, to see whether somebody is still writing them."""
    try:
        found = [path.stat() for path in case.files]
    except OSError:  # told by whoever reads them
        return []
    return [(status.st_size, status.st_mtime_ns) for status in found]


def _is_whole(names: set[str], wanted: set[str]) -> bool:
    """Whether a case's folder holds all its files; somebody may have taken one away, or wants more than before."""
    return {"preview.png", "statistics.json", *wanted} <= names and bool({"mask.nii.gz", "mask.png"} & names)


def _peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (ru_maxrss is in KiB on Linux, in bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
