"""What a run or trial spent so far, and where, kept in its folder across restarts."""

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import torch

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.experiments.results import Origin
from radseg.pipelines.report.atomic import write_whole

_FILE = "progress.json"


class Progress:
    """Seconds, memory, commits and machines of a run; a process that is killed leaves no seconds in it.

    Args:
        folder: of the run.
        anew: forget what was spent there before.

    Attributes:
        trained: whether the training ended.
        parameters: of the network, those that are trained.
        total_parameters: all, with the statistics of batch norms.
        best_epoch: the one that validation chose, or the last.
        absent_labels: names of the labels that no item of `training`, or none of `validation`, has.
        seconds: wall clock by stage.
        peak_memory_bytes: largest resident memory of the processes.
        peak_gpu_memory_bytes: largest allocation on the GPU, None on a CPU.
        origins: code and machines, in the order in which it was started with them.
    """

    def __init__(self, folder: Path, anew: bool = False) -> None:
        self._file = folder / _FILE
        try:
            held = {} if anew else json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a first run; seconds aren't worth an error
            held = {}
        self.trained: bool = held.get("trained", False)
        self.parameters: int | None = held.get("parameters")
        self.total_parameters: int | None = held.get("total_parameters")
        self.best_epoch: int | None = held.get("best_epoch")
        self.absent_labels: Mapping[str, Sequence[str]] = held.get("absent_labels", {})
        self.seconds: dict[str, float] = held.get("seconds", {})
        self.peak_memory_bytes: int | None = held.get("peak_memory_bytes")
        self.peak_gpu_memory_bytes: int | None = held.get("peak_gpu_memory_bytes")
        self.origins = tuple(Origin.from_json(one) for one in held.get("origins", ()))

    def note_start(self, origin: Origin, goes_on: bool) -> None:
        """It is begun, or gone on with, by this code on this machine."""
        earlier = self.origins if goes_on else ()
        self.origins = tuple(dict.fromkeys((*earlier, origin)))
        self._save()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time of a stage, however it ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.monotonic() - began, 3)
            self.peak_memory_bytes = max(self.peak_memory_bytes or 0, _peak_memory_bytes())
            if torch.cuda.is_available():
                peak = max(self.peak_gpu_memory_bytes or 0, torch.cuda.max_memory_allocated())
                self.peak_gpu_memory_bytes = peak or None
            self._save()

    def note_training(
        self, parameters: tuple[int, int] | None, best_epoch: int, absent_labels: Mapping[str, Sequence[str]]
    ) -> None:
        """The training ended; parameters are those that are trained and all."""
        self.trained, self.best_epoch = True, best_epoch
        self.parameters, self.total_parameters = parameters or (None, None)
        self.absent_labels = absent_labels
        self._save()

    def _save(self) -> None:
        held = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        held["origins"] = [asdict(one) for one in self.origins]
        try:
            write_whole(self._file, [json.dumps(held, indent=1) + "\n"])
        except OSError as error:
            raise ConfigError(f"{self._file}: can't be written ({error.strerror}); free space and run again") from error


def forget_peak_memory() -> None:
    """Has what `Progress.timed` notes count from now on; where the system can't, from the start of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, man 5 proc
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_memory_bytes() -> int:
    """Largest resident memory of this process so far, or since that was forgotten."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what a parent held before this process' program began
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss if sys.platform == "darwin" else peak_rss * 1024
