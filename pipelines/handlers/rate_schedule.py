"""The learning rate over a training: as it is, or falling along half a cosine."""

import math
from collections.abc import Sequence

import torch
from ignite.engine import Engine, Events

from radseg.pipelines.errors import ConfigError

SCHEDULES = ("constant", "cosine")
_LAST = 0.01  # share of the rate that the last step has


class RateSchedule:
    """Sets the learning rate of every step from the step's number alone, so that a resumed training needs no state.

    `cosine` lets it fall from `rate` to a hundredth of it along half a cosine over all epochs; with `constant` nothing
    is touched.

    Args:
        schedule: one of `SCHEDULES`, or of `others`.
        optimizer: whose rate is set.
        rate: of the first step.
        others: schedules that other handlers of the same training see to.

    Raises:
        ConfigError: unknown schedule.
    """

    def __init__(
        self, schedule: str, optimizer: torch.optim.Optimizer, rate: float, others: Sequence[str] = ()
    ) -> None:
        known = (*SCHEDULES, *others)
        if schedule not in known:
            raise ConfigError(f"rate_schedule {schedule!r} is unknown; there are {', '.join(known)}")
        self.schedule = schedule
        self.optimizer = optimizer
        self.rate = rate

    def attach(self, engine: Engine) -> None:
        """Sets the rate before every step of `engine`."""
        if self.schedule == "cosine":
            engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Sets the rate for the step that `engine` begins."""
        steps = engine.state.max_epochs * engine.state.epoch_length
        done = (engine.state.iteration - 1) / max(1, steps - 1)
        share = _LAST + (1 - _LAST) * (1 + math.cos(math.pi * min(1.0, done))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * share
