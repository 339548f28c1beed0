"""The verb `train`: a bundle and a datalist become trained weights."""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignite.engine import Engine

from radseg.pipelines.bundle_loader import load_workflow, run_workflow
from radseg.pipelines.checkpoint import Checkpoint
from radseg.pipelines.errors import InputError, WeightsError
from radseg.pipelines.io.store.destination import Destination

_logger = logging.getLogger("radseg.training")


@dataclass(frozen=True)
class Training:
    """What a training ended with.

    Attributes:
        weights: state dict of the best epoch; a path or URL.
        epochs: epochs trained, those before a restart included.
        best_metric: validation metric of the best epoch.
        stopped_early: whether early stopping ended it.
    """

    weights: Path | str
    epochs: int
    best_metric: float
    stopped_early: bool


def train(bundle: str | Path, *, trust_config: bool = False, **overrides: Any) -> Training:
    """Trains a bundle as its train.json says.

    Args:
        bundle: name or folder.
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values, such as `dataset_dir`, `output_dir`, `max_epochs`, `resume`, `device`.

    Raises:
        RadsegError: the config, an override or the data can't be used.
    """
    result: Training = run_workflow(load_workflow(bundle, "train", overrides, trust_config))
    return result


# what a training leaves in its folder; nothing else there is ever moved or deleted
OWN = ("model.pt", "model.pt.sha256", "last.pt", "history.json", "tensorboard")


def prepare_output(output_dir: Path | str, resume: bool = False, overwrite: bool = False) -> Path:
    """Makes the folder of a run; an earlier run's files found there are moved aside to `<name>.1`, `<name>.2`, ….

    Called when data and network are known to be good, so that a training which can't start touches nothing.

    Args:
        output_dir: folder of the run, or its URL.
        resume: go on with what is there.
        overwrite: delete the earlier run's files instead of moving them aside.

    Raises:
        InputError: the folder can't be written, or the store can't be reached.
        WeightsError: there is nothing to resume.
    """
    destination = Destination(output_dir)
    folder = destination.local.absolute()
    destination.check_writable()
    if resume:
        destination.fetch(name for name in OWN if name != "tensorboard")
    if resume and not (folder / "last.pt").is_file():
        raise WeightsError(f"{destination}/last.pt: nothing to resume; start without --resume")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
        earlier = [] if resume else [folder / name for name in OWN if (folder / name).exists()]
        if earlier and not overwrite:
            number = 1
            while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
                number += 1
            aside.mkdir()
            for path in earlier:
                path.rename(aside / path.name)
            _logger.warning("an earlier training in %s is now in %s (--resume goes on)", folder.name, aside.name)
        elif earlier:
            for path in earlier:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        if not resume and overwrite:
            destination.retract(OWN)
        elif not resume and (moved_to := destination.set_aside(OWN)):
            _logger.warning("an earlier training in %s is now in %s (--resume goes on)", destination, moved_to)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror}); choose another --output_dir") from error
    return folder


def run_training(trainer: Engine, handlers: Sequence[Any], resume: bool = False) -> Training:
    """Runs `trainer` to its end, from its last checkpoint when `resume` is set.

    Args:
        trainer: to run.
        handlers: its handlers; one of them is the `Checkpoint`.
        resume: go on from `last.pt`.
    """
    checkpoint = next(handler for handler in handlers if isinstance(handler, Checkpoint))
    if not resume or checkpoint.restore(trainer):
        trainer.run()
        with checkpoint.destination.kept_on_failure():
            checkpoint.publish(OWN)
    # not asked of the engines, which know nothing when there was nothing left to train
    history = json.loads((checkpoint.output_dir / "history.json").read_text())
    return Training(
        weights=_weights(checkpoint.destination),
        epochs=len(history["epochs"]),
        best_metric=float(checkpoint.validator.state.best_metric),
        stopped_early=history["stopped_early"],
    )


def _weights(destination: Destination) -> Path | str:
    return destination.local / "model.pt" if destination.url is None else f"{destination}/model.pt"
