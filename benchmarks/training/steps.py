"""What a trainer spends on each step: waiting for its batch, and the rest; and what it learns meanwhile."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from device_clock import seconds_on
from ignite.engine import Engine, Events

KIB_PER_MB = 1e6 / 1024


class StepWatch:
    """Times the steps of a trainer and ends its run after so many, in the middle of an epoch if need be.

    Args:
        warm_up: steps that don't count, in which worker processes start and kernels are made.
        steps: steps that count.
        device: of the trainer; a step ends when it has done all that the step gave it.
    """

    def __init__(self, warm_up: int, steps: int, device: str = "cpu") -> None:
        self.warm_up = warm_up
        self.steps = steps
        self.device = device
        self.waited: list[float] = []
        self.whole: list[float] = []
        self.losses: list[float] = []
        self.workers_mb = 0.0
        self._asked = self._begun = 0.0

    def attach(self, trainer: Engine) -> None:
        """Follows `trainer`."""
        trainer.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, self._get)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._end)

    def _ask(self, trainer: Engine) -> None:
        self._asked = time.perf_counter()

    def _get(self, trainer: Engine) -> None:
        self._begun = time.perf_counter()

    def _end(self, trainer: Engine) -> None:
        now = seconds_on(self.device)
        self.losses.append(float(trainer.state.output[0]["loss"]))
        self.waited.append(self._begun - self._asked)
        self.whole.append(now - self._asked)
        if len(self.whole) == self.warm_up + self.steps:
            self.workers_mb = _children_mb()
            trainer.terminate()

    def figures(self, samples: int) -> dict[str, Any]:
        """Rates and seconds of the steps that count, by their medians; losses as means of the first and last three.

        Args:
            samples: windows or slices of a step.

        Raises:
            RuntimeError: the trainer ended before.
        """
        if len(self.whole) < self.warm_up + self.steps:
            raise RuntimeError(f"the training ended after {len(self.whole)} of {self.warm_up + self.steps} steps")
        whole, waited = self.whole[self.warm_up :], self.waited[self.warm_up :]
        return {
            "samples_per_second": round(samples / median(whole), 4),
            "step_seconds": round(median(whole), 4),
            "waiting_seconds": round(mean(waited), 4),
            "waiting_share": round(sum(waited) / sum(whole), 4),
            "loss_first": round(mean(self.losses[:3]), 4),
            "loss_last": round(mean(self.losses[-3:]), 4),
            "workers_mb": round(self.workers_mb),
        }


def samples_of(parser: Any) -> int:
    """Windows or slices of a step."""
    loader = parser.get_parsed_content("train#dataloader")
    return int(loader.batch_size) * int(parser.get("samples_per_case", 1))


def _children_mb() -> float:
    """Memory of the processes below this one; what they share is counted in parts."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(status.parent.name)] = next(int(line.split()[1]) for line in lines if line.startswith("PPid"))
    found = [os.getpid()]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return sum(_proportional_kib(child) for child in found[1:]) / KIB_PER_MB


def _proportional_kib(process: int) -> int:
    try:
        lines: Sequence[str] = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
