"""What a training leaves on disk: the best weights, the state to go on from, and its history."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from ignite.engine import Engine, Events

from radseg.pipelines.errors import ConfigError, RadsegError, WeightsError
from radseg.pipelines.fingerprint import fingerprint
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.overrides import told_apart
from radseg.pipelines.training.distributed import from_first, gathered, highest, rank, settle, world_size
from radseg.pipelines.training.divergence import divergence
from radseg.pipelines.training.random_state import put_random_state, take_random_state
from radseg.pipelines.training.shard_sampler import ShardSampler
from radseg.pipelines.training.stop_request import StopRequest
from radseg.pipelines.weights import save_weights, write_atomically

_logger = logging.getLogger("radseg.training")


class _Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Checkpoint:
    """Writes, after every epoch, `last.pt` and `history.json`, and `model.pt` when validation was the best so far.

    `last.pt` holds all that changes: network, optimiser, learning-rate schedule, early stopping, best metric, epoch
    and loss series. A trainer's `extra_state()` is saved too, where it has one, and given back to its
    `load_extra_state`; its metrics stand in the history beside the validator's. All files are written whole and
    renamed. `model.pt` is a plain state dict, its sha256 beside it. At a URL, all are uploaded after every epoch; a
    store that can't be reached then is told of, and tried again after the next. Of several processes the first writes.

    A training that is told to stop ends after the optimiser's next step, or in a validation at once, and `last.pt`
    then holds the position in the epoch too, with the sampler's and the state of all random numbers, of each process.
    Between epochs random numbers need no saving, since every epoch seeds its own. Where several processes validate
    they end only when all are through with it; the position is on disk by then.

    Args:
        output_dir: folder of the run, or its URL.
        network: trained network.
        optimizer: its optimiser.
        validator: evaluator with a key metric.
        lr_scheduler: its learning-rate schedule, if it has one.
        early_stop: MONAI's `EarlyStopHandler`, whose patience survives a restart.
        recipe: what mustn't change between a run and its resumption, by name: components or plain values.

    Attributes:
        stop: asked after every step whether to stop.
        on_epoch: called with an epoch's row of the history when the epoch is on disk; what it raises ends the training.
        settings: what those who use the weights must set as this training does; goes into the history.
        overrides: what was changed in the bundle's config; told where a resumed training was changed otherwise.
    """

    def __init__(
        self,
        output_dir: Path | str,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        validator: Engine,
        lr_scheduler: _Stateful | None = None,
        early_stop: Any = None,
        recipe: Mapping[str, object] | None = None,
    ) -> None:
        self.destination = Destination(output_dir)
        self.output_dir = self.destination.local
        self.network = network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.validator = validator
        self.early_stop = early_stop
        self.recipe = {name: fingerprint(value) for name, value in (recipe or {}).items()}
        self.losses: list[float] = []
        self.epochs: list[dict[str, float]] = []
        self.stop = StopRequest()
        self.on_epoch: Callable[[dict[str, float]], None] | None = None
        self.settings: Mapping[str, Any] | None = None
        self.overrides: Mapping[str, Any] | None = None
        self._published = ""
        self._random: dict[str, Any] | None = None  # to put back before the next batch
        self._epoch_end: dict[str, Any] | None = None  # the position after an epoch's last step, until that is saved

    def attach(self, engine: Engine) -> None:
        """Follows the trainer `engine`; attach it after the validation handler."""
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._put_random_state_back)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_loss)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop_in_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        self.validator.add_event_handler(Events.ITERATION_COMPLETED, self._stop_in_validation, engine)

    def _note_loss(self, engine: Engine) -> None:
        loss = float(engine.state.output[0]["loss"])
        if not math.isfinite(loss):
            raise _diverged(engine, "loss")
        self.losses.append(loss)

    def _stop_in_epoch(self, engine: Engine) -> None:
        sampler, steps = _sampler(engine), (engine.state.iteration - 1) % engine.state.epoch_length + 1
        at_the_end = steps == engine.state.epoch_length
        if sampler is None or (steps % _accumulation(engine) and not at_the_end):
            return
        number = highest(self.stop.number)
        if not number and not at_the_end:
            return
        position = {
            "steps": steps,
            "sampler": sampler.state_dict(steps),
            "metrics": {name: float(value) for name, value in engine.state.metrics.items()},
            "random": gathered(take_random_state(engine.state.device)),
        }
        if number:
            self._write_whole(lambda: self._write_last(engine, position))
            self._leave(number)
        self._epoch_end = position

    def _stop_in_validation(self, validator: Engine, engine: Engine) -> None:
        if not self.stop.number or self._epoch_end is None:
            return
        position, self._epoch_end = self._epoch_end, None
        self._write_whole(lambda: self._write_last(engine, position))
        if world_size() == 1:
            self._leave(self.stop.number)

    def _leave(self, number: int) -> NoReturn:
        settle()
        self.stop.leave(number, f"{self.destination}/last.pt has it all: resume goes on from there")

    def _save(self, engine: Engine) -> None:
        if not all(torch.isfinite(value).all() for value in self.network.state_dict().values()):
            # the last step may have spoilt what the validation, leaving NaN out, calls perfect
            raise _diverged(engine, "weights")
        self._epoch_end = None
        row = self._row(engine)
        self.epochs.append(row)
        self._write_whole(lambda: self._write(engine))
        if self.on_epoch is not None and rank() == 0:
            self.on_epoch(dict(row))
        number = highest(self.stop.number)
        if number:
            self._leave(number)

    def _write_whole(self, write: Callable[[], None]) -> None:
        if rank() > 0:
            return
        try:
            write()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"{self.output_dir}: can't be written ({reason}); free space and use --resume") from error

    def _row(self, engine: Engine) -> dict[str, float]:
        state, best = engine.state, self.validator.state
        row = {
            "epoch": state.epoch,
            "loss": sum(self.losses[-state.epoch_length :]) / state.epoch_length,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        if best.epoch == state.epoch:
            row |= {name: float(value) for name, value in best.metrics.items()}
        row |= {name: float(value) for name, value in state.metrics.items()}
        return row

    def _write(self, engine: Engine) -> None:
        if self.validator.state.best_metric_epoch == engine.state.epoch:
            save_weights(self.network, self.output_dir / "model.pt")
        self._write_last(engine)
        self._write_history(bool(engine.should_terminate))
        self._publish_or_say(("model.pt", "last.pt", "history.json", "tensorboard", "mlflow"))

    def _write_last(self, engine: Engine, position: Mapping[str, Any] | None = None) -> None:
        """Writes `last.pt` after a whole epoch, or at a position within one that isn't in the history yet."""
        state, best, sampler = engine.state, self.validator.state, _sampler(engine)
        write_atomically(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "lr_scheduler": None if self.lr_scheduler is None else self.lr_scheduler.state_dict(),
                "early_stop": self._patience(),
                "trainer": engine.extra_state() if hasattr(engine, "extra_state") else None,
                "recipe": self.recipe,
                "overrides": None if self.overrides is None else dict(self.overrides),
                "accumulation": _accumulation(engine),
                "dealing": None if sampler is None else sampler.dealing(),
                "epoch": state.epoch if position is None else state.epoch - 1,
                "position": position,
                "epoch_length": state.epoch_length,
                "best_metric": float(best.best_metric),
                "best_metric_epoch": best.best_metric_epoch,
                "stopped": bool(engine.should_terminate),
                "losses": self.losses,
                "epochs": self.epochs,
            },
            self.output_dir / "last.pt",
        )
        if position is not None:
            self._publish_or_say(("last.pt",))

    def _write_history(self, stopped_early: bool) -> None:
        known = {} if self.settings is None else {"settings": dict(self.settings)}
        history = {"stopped_early": stopped_early, **known, "epochs": self.epochs, "losses": self.losses}
        part = self.output_dir / "history.json.part"
        part.write_text(json.dumps(history, indent=1) + "\n")
        part.replace(self.output_dir / "history.json")

    def _publish_or_say(self, names: Iterable[str]) -> None:
        try:
            self.publish(names)
        except RadsegError as error:
            _logger.warning("%s; training goes on", error)

    def publish(self, names: Iterable[str]) -> None:
        """Uploads those of the named files that there are, weights never beside the sha256 of others.

        Raises:
            InputError: the store can't be reached or doesn't take them.
            ConfigError: it refuses access.
        """
        there = [name for name in names if (self.output_dir / name).exists()]
        digest = self.output_dir / "model.pt.sha256"
        if "model.pt" in there and digest.read_text() != self._published:
            self.destination.retract([digest.name])
            self.destination.publish(["model.pt", digest.name])
            self._published = digest.read_text()
        self.destination.publish(name for name in there if not name.startswith("model.pt"))

    def restore(self, trainer: Engine) -> bool:
        """Puts everything back as `last.pt` has it; returns whether there is still something to train.

        An epoch that was stopped while it was validated is brought to its end here: its last handlers are run.

        Raises:
            WeightsError: there is no `last.pt`, it is damaged, or it belongs to another network, dataset or recipe.
        """
        file = self.output_dir / "last.pt"
        saved = from_first(lambda: self._read(file))
        self._refuse_others(file, saved, trainer)
        try:
            self.network.load_state_dict(saved["network"])
        except RuntimeError as error:
            raise WeightsError(f"{file}: belongs to another network; resume with the same network_def") from error
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.lr_scheduler is not None:
            self.lr_scheduler.load_state_dict(saved["lr_scheduler"])
        if self.early_stop is not None and saved["early_stop"] is not None:
            self.early_stop._handler.load_state_dict(saved["early_stop"])
        if saved.get("trainer") is not None:
            try:
                trainer.load_extra_state(saved["trainer"])
            except WeightsError as error:
                raise WeightsError(f"{file}: {error}") from error
        self.losses, self.epochs = saved["losses"], saved["epochs"]
        trainer.state.epoch = saved["epoch"]
        trainer.state.iteration = saved["epoch"] * saved["epoch_length"]
        self.validator.state.best_metric = saved["best_metric"]
        self.validator.state.best_metric_epoch = saved["best_metric_epoch"]
        if saved.get("position") is not None:
            self._go_to(file, saved["position"], trainer)
        elif rank() == 0:
            self._write_history(saved["stopped"])  # the run may have been killed between the two files
        return not (saved["stopped"] or trainer.should_terminate) and trainer.state.epoch < trainer.state.max_epochs

    def _read(self, file: Path) -> dict[str, Any]:
        if not file.is_file():
            raise WeightsError(f"{file}: nothing to resume; start without --resume")
        try:
            saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            changed = [name for name, value in self.recipe.items() if saved["recipe"].get(name) != value]
        except Exception as error:
            raise WeightsError(f"{file}: damaged, can't be resumed from ({type(error).__name__})") from error
        if changed:
            before = saved.get("overrides")
            which = "" if before is None or self.overrides is None else told_apart(before, self.overrides)
            differ = f"{', '.join(changed)} ({which})" if which else ", ".join(changed)
            raise WeightsError(f"{file}: was trained with other {differ}; resume with the same settings")
        return saved

    @staticmethod
    def _refuse_others(file: Path, saved: Mapping[str, Any], trainer: Engine) -> None:
        if saved["epoch_length"] != trainer.state.epoch_length:
            raise WeightsError(
                f"{file}: was trained with {saved['epoch_length']} steps an epoch, now there are "
                f"{trainer.state.epoch_length}: resume with the same data, batch size and number of processes"
            )
        sampler, dealing = _sampler(trainer), saved.get("dealing")
        if sampler is not None and dealing is not None and saved.get("position") is None:
            try:
                sampler.refuse_other(dealing)
            except WeightsError as error:
                raise WeightsError(f"{file}: {error}") from error
        if saved.get("accumulation", 1) != _accumulation(trainer):
            raise WeightsError(f"{file}: was trained with accumulate {saved['accumulation']}; resume with the same")
        if (saved.get("trainer") is not None) != hasattr(trainer, "load_extra_state"):
            raise WeightsError(f"{file}: was trained by another kind of trainer; resume with the same train#trainer")

    def _go_to(self, file: Path, position: Mapping[str, Any], trainer: Engine) -> None:
        """Puts `trainer` to a position within the epoch after the last whole one."""
        sampler = _sampler(trainer)
        try:
            if sampler is None:
                raise WeightsError("was stopped in mid-epoch; resume with the train#dataloader#sampler that it had")
            sampler.load_state_dict(position["sampler"])
        except WeightsError as error:
            raise WeightsError(f"{file}: {error}") from error
        steps, self._random = position["steps"], position["random"][rank()]
        trainer.state.iteration += steps
        trainer.state.losses_before = self.losses[-steps:]
        trainer.state.metrics.update(position["metrics"])
        if steps == trainer.state.epoch_length:
            sampler.skip = 0
            trainer.state.epoch += 1
            trainer.fire_event(Events.EPOCH_STARTED)
            self._put_random_state_back(trainer)
            trainer.fire_event(Events.EPOCH_COMPLETED)

    def _put_random_state_back(self, engine: Engine) -> None:
        if self._random is not None:
            put_random_state(self._random, engine.state.device)
            self._random = None

    def _patience(self) -> dict[str, Any] | None:
        if self.early_stop is None or self.early_stop._handler is None:
            return None
        return dict(self.early_stop._handler.state_dict())


def _sampler(trainer: Engine) -> ShardSampler | None:
    """The sampler whose position in an epoch can be saved; a trainer with another can only be resumed between them."""
    sampler = getattr(getattr(trainer, "data_loader", None), "sampler", None)
    return sampler if isinstance(sampler, ShardSampler) else None


def _diverged(trainer: Engine, what: str) -> ConfigError:
    """The end of a training, with the names of what all processes had in their last batches."""
    sampler, last = _sampler(trainer), (trainer.state.iteration - 1) % trainer.state.epoch_length
    names = [] if sampler is None else [sampler.name_of(item) for item in sampler.joint_batch(last)]
    return divergence(trainer.state.epoch, what, names)


def _accumulation(trainer: Engine) -> int:
    return int(getattr(trainer, "accumulation_steps", 1))
