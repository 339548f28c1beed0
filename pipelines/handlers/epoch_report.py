"""What the user sees of a training: a bar over the iterations, a line an epoch."""

import logging
import time

import torch
from ignite.engine import Engine, Events
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from radseg.pipelines.console import bars_shown, console
from radseg.pipelines.training.distributed import rank

_logger = logging.getLogger("radseg.training")


class EpochReport:
    """Shows a progress bar over the iterations and leaves one line an epoch; of several processes the first does.

    Args:
        validator: the evaluator whose key metric stands in the line.
        optimizer: whose learning rate stands in the line.
        show: off, the lines go to the log alone.
    """

    def __init__(self, validator: Engine, optimizer: torch.optim.Optimizer, show: bool = True) -> None:
        self.validator = validator
        self.optimizer = optimizer
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console(),
            transient=True,
            disable=not bars_shown(show) or rank() > 0,
        )
        self._show = show and rank() == 0
        self._task: TaskID | None = None
        self._losses: list[float] = []
        self._began = 0.0

    def attach(self, engine: Engine) -> None:
        """Follows `engine` from its start to its end; attach it after the validation handler."""
        engine.add_event_handler(Events.STARTED, lambda _: self._bar.start())
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)
        engine.add_event_handler(Events.COMPLETED, lambda _: self._bar.stop())
        engine.add_event_handler(Events.TERMINATE, lambda _: self._bar.stop())
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _begin(self, engine: Engine) -> None:
        self._began, self._losses = time.monotonic(), getattr(engine.state, "losses_before", [])
        engine.state.losses_before = []  # a `Checkpoint` had them of an epoch that was stopped midway
        self._task = self._bar.add_task(
            self._title(engine), total=engine.state.epoch_length, completed=len(self._losses)
        )

    def _advance(self, engine: Engine) -> None:
        self._losses.append(float(engine.state.output[0]["loss"]))
        if self._task is not None:
            self._bar.update(self._task, advance=1, description=f"{self._title(engine)}  loss {self._losses[-1]:.4f}")

    def _end(self, engine: Engine) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        state = self.validator.state
        name = state.key_metric_name
        validated = (
            f"{name} {state.metrics[name]:.4f} (best {state.best_metric:.4f} in epoch {state.best_metric_epoch})"
            if state.epoch == engine.state.epoch
            else "not validated"
        )
        line = (
            f"{self._title(engine)}  loss {sum(self._losses) / len(self._losses):.4f}  {validated}  "
            f"lr {self.optimizer.param_groups[0]['lr']:.2g}  {time.monotonic() - self._began:.0f} s"
        )
        if self._show:
            self._bar.console.print(line, highlight=False, soft_wrap=True)
        elif rank() == 0:
            _logger.info(line)

    def _fail(self, engine: Engine, error: Exception) -> None:
        self._bar.stop()
        raise error

    @staticmethod
    def _title(engine: Engine) -> str:
        return f"epoch {engine.state.epoch}/{engine.state.max_epochs}"
