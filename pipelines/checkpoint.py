"""What a training leaves on disk: the best weights, the state to go on from, and its history."""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from ignite.engine import Engine, Events

from radseg.pipelines.errors import ConfigError, RadsegError, WeightsError
from radseg.pipelines.fingerprint import fingerprint
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.weights import save_weights, write_atomically

_logger = logging.getLogger("radseg.training")


class _Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Checkpoint:
    """Writes, after every epoch, `last.pt` and `history.json`, and `model.pt` when validation was the best so far.

    `last.pt` holds all that changes: network, optimiser, learning-rate schedule, early stopping, best metric, epoch
    and loss series. Random numbers need no saving, since every epoch seeds its own. All files are written whole and
    renamed. `model.pt` is a plain state dict, its sha256 beside it. At a URL, all are uploaded after every epoch; a
    store that can't be reached then is told of, and tried again after the next.

    Args:
        output_dir: folder of the run, or its URL.
        network: trained network.
        optimizer: its optimiser.
        validator: evaluator with a key metric.
        lr_scheduler: its learning-rate schedule, if it has one.
        early_stop: MONAI's `EarlyStopHandler`, whose patience survives a restart.
        recipe: what mustn't change between a run and its resumption, by name: components or plain values.
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
        self._published = ""

    def attach(self, engine: Engine) -> None:
        """Follows the trainer `engine`; attach it after the validation handler."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _note_loss(self, engine: Engine) -> None:
        loss = float(engine.state.output[0]["loss"])
        if not math.isfinite(loss):
            self._diverged(engine)
        self.losses.append(loss)

    def _diverged(self, engine: Engine) -> NoReturn:
        raise ConfigError(f"the training diverged in epoch {engine.state.epoch} (loss not finite); lower learning_rate")

    def _save(self, engine: Engine) -> None:
        if not all(torch.isfinite(value).all() for value in self.network.state_dict().values()):
            self._diverged(engine)  # the last step may have spoilt what the validation, leaving NaN out, calls perfect
        try:
            self._write(engine)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"{self.output_dir}: can't be written ({reason}); free space and use --resume") from error

    def _write(self, engine: Engine) -> None:
        state, best = engine.state, self.validator.state
        row = {
            "epoch": state.epoch,
            "loss": sum(self.losses[-state.epoch_length :]) / state.epoch_length,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        if best.epoch == state.epoch:
            row |= {name: float(value) for name, value in best.metrics.items()}
        self.epochs.append(row)
        if best.best_metric_epoch == state.epoch:
            save_weights(self.network, self.output_dir / "model.pt")
        write_atomically(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "lr_scheduler": None if self.lr_scheduler is None else self.lr_scheduler.state_dict(),
                "early_stop": self._patience(),
                "recipe": self.recipe,
                "epoch": state.epoch,
                "epoch_length": state.epoch_length,
                "best_metric": float(best.best_metric),
                "best_metric_epoch": best.best_metric_epoch,
                "stopped": bool(engine.should_terminate),
                "losses": self.losses,
                "epochs": self.epochs,
            },
            self.output_dir / "last.pt",
        )
        history = {"stopped_early": bool(engine.should_terminate), "epochs": self.epochs, "losses": self.losses}
        part = self.output_dir / "history.json.part"
        part.write_text(json.dumps(history, indent=1) + "\n")
        part.replace(self.output_dir / "history.json")
        try:
            self.publish(("model.pt", "last.pt", "history.json", "tensorboard"))
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

        Raises:
            WeightsError: there is no `last.pt`, it is damaged, or it belongs to another network, dataset or recipe.
        """
        file = self.output_dir / "last.pt"
        if not file.is_file():
            raise WeightsError(f"{file}: nothing to resume; start without --resume")
        try:
            saved = torch.load(file, map_location="cpu", weights_only=True)
            changed = [name for name, value in self.recipe.items() if saved["recipe"].get(name) != value]
        except Exception as error:
            raise WeightsError(f"{file}: damaged, can't be resumed from ({type(error).__name__})") from error
        if changed:
            raise WeightsError(f"{file}: was trained with other {', '.join(changed)}; resume with the same settings")
        if saved["epoch_length"] != trainer.state.epoch_length:
            raise WeightsError(
                f"{file}: was trained with {saved['epoch_length']} steps an epoch, now there are "
                f"{trainer.state.epoch_length}: resume with the same data and batch size"
            )
        try:
            self.network.load_state_dict(saved["network"])
        except RuntimeError as error:
            raise WeightsError(f"{file}: belongs to another network; resume with the same network_def") from error
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.lr_scheduler is not None:
            self.lr_scheduler.load_state_dict(saved["lr_scheduler"])
        if self.early_stop is not None and saved["early_stop"] is not None:
            self.early_stop._handler.load_state_dict(saved["early_stop"])
        self.losses, self.epochs = saved["losses"], saved["epochs"]
        trainer.state.epoch = saved["epoch"]
        trainer.state.iteration = saved["epoch"] * saved["epoch_length"]
        self.validator.state.best_metric = saved["best_metric"]
        self.validator.state.best_metric_epoch = saved["best_metric_epoch"]
        return not saved["stopped"] and saved["epoch"] < trainer.state.max_epochs

    def _patience(self) -> dict[str, Any] | None:
        if self.early_stop is None or self.early_stop._handler is None:
            return None
        return dict(self.early_stop._handler.state_dict())
