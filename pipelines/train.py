"""The verb `train`: a bundle and a datalist become trained weights."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from monai.bundle import ConfigWorkflow
from monai.bundle.utils import merge_kv

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import RUN_KEYS, find_bundle, load_workflow, read_json, run_workflow, top_key
from radseg.pipelines.errors import ConfigError, InputError, WeightsError
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.io.volume import first_line
from radseg.pipelines.report.atomic import write_whole
from radseg.pipelines.trained_with import settings_of
from radseg.pipelines.training.checkpoint import Checkpoint
from radseg.pipelines.training.distributed import from_first, gathered, launched, one_voice, rank, world_size
from radseg.pipelines.training.epoch_dataset import EpochDataset
from radseg.pipelines.training.stop_request import StopRequest

_logger = logging.getLogger("radseg.training")
_COUNTS = ("max_epochs", "batch_size", "accumulate", "repeats", "samples_per_case", "val_interval")
# a config is text: this is how the caller's function and settings reach the training that the config starts
_ON_EPOCH: ContextVar[Callable[[dict[str, float]], None] | None] = ContextVar("on_epoch", default=None)
_SETTINGS: ContextVar[tuple[Mapping[str, Any], Mapping[str, Any]] | None] = ContextVar("settings", default=None)


@dataclass(frozen=True)
class Training:
    """What a training ended with.

    Attributes:
        weights: state dict of the best epoch; a path or URL.
        epochs: epochs trained, those before a restart included.
        best_metric: validation metric of the best epoch.
        stopped_early: whether early stopping ended it.
        absent_labels: names of the labels that no item of `training`, or none of `validation`, has.
    """

    weights: Path | str
    epochs: int
    best_metric: float
    stopped_early: bool
    absent_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def train(
    bundle: str | Path,
    *,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    trust_config: bool = False,
    **overrides: Any,
) -> Training:
    """Trains a bundle as its train.json says; where torchrun started several processes, with multi_gpu_train.json.

    Args:
        bundle: name or folder.
        on_epoch: called after each epoch, when it is on disk, with its row of the history: epoch, loss, learning rate
            and, if it was validated, metrics. What it raises ends the training and comes out of here as it is. Of
            several processes the first calls it.
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values, such as `dataset_dir`, `output_dir`, `max_epochs`, `resume`, `device`.

    Raises:
        RadsegError: the config, an override or the data can't be used.
    """
    raised: list[Exception] = []

    def call(row: dict[str, float]) -> None:
        try:
            if on_epoch is not None:
                on_epoch(row)
        except Exception as error:
            raised.append(error)
            raise

    token, settings = _ON_EPOCH.set(call), _SETTINGS.set(None)
    try:
        with one_voice():
            workflow = load_workflow(bundle, "train", overrides, trust_config)
            if launched():
                _share_out(workflow, configs(find_bundle(bundle, trust_config)) / "multi_gpu_train.json")
            _refuse_none(workflow)
            told = {key: value for key, value in overrides.items() if top_key(key) not in (*RUN_KEYS, "max_epochs")}
            plain = json.loads(json.dumps(told, default=str))
            _SETTINGS.set((settings_of(workflow, find_bundle(bundle, trust_config)), plain))
            result: Training = run_workflow(workflow)
            if isinstance(result, Training):
                result = replace(result, absent_labels=_absent_labels(workflow))
    except Exception:
        if raised:
            raise raised[0] from None  # not in the wrappings of the config that it came through
        raise
    finally:
        _ON_EPOCH.reset(token)
        _SETTINGS.reset(settings)
    return result


def _absent_labels(workflow: ConfigWorkflow) -> dict[str, tuple[str, ...]]:
    """By list, the labels of the bundle that no item has, as far as its datasets look for them."""
    if "labels" not in workflow.parser.config:
        return {}
    names = workflow.parser.get_parsed_content("labels")
    absent = {}
    for split, key in (("training", "train"), ("validation", "validate")):
        if "dataset" not in workflow.parser.config.get(key, {}):
            continue
        dataset = workflow.parser.get_parsed_content(f"{key}#dataset")
        # where it knows other labels than the bundle's, these come about on the way, as simulated fractures do
        if isinstance(dataset, EpochDataset) and dataset.labels == len(names):
            missing = (name for value, name in enumerate(names, 1) if value not in dataset.occurring)
            absent[split] = tuple(str(name) for name in missing)
    return absent


def _refuse_none(workflow: ConfigWorkflow) -> None:
    """Refuses a training without epochs, or batches without items.

    Raises:
        ConfigError: such a count is below 1.
    """
    for key in _COUNTS:
        value = workflow.parser.config.get(key)
        if isinstance(value, int) and value < 1:
            raise ConfigError(f"--{key}: must be at least 1, got {value}")


def _share_out(workflow: ConfigWorkflow, file: Path) -> None:
    """Adds to a training what its bundle says of several processes.

    Raises:
        ConfigError: the bundle says nothing of it.
    """
    if not file.is_file():
        raise ConfigError(f"{file.parent}: has no multi_gpu_train.json; train it in one process, without torchrun")
    for key, value in read_json(file).items():
        merge_kv(workflow.parser, key, value)


_CURVES = "curves.png"
# what a training leaves in its folder; nothing else there is ever moved or deleted
OWN = ("model.pt", "model.pt.sha256", "last.pt", "history.json", _CURVES, "tensorboard", "mlflow")


def prepare_output(output_dir: Path | str, resume: bool = False, overwrite: bool = False) -> Path:
    """Makes the folder of a run; an earlier run's files found there are moved aside to `<name>.1`, `<name>.2`, ….

    Called when data and network are known to be good, so that a training which can't start touches nothing. Of
    several processes the first does it when all have come this far.

    Args:
        output_dir: folder of the run, or its URL.
        resume: go on with what is there.
        overwrite: delete the earlier run's files instead of moving them aside.

    Raises:
        InputError: the folder can't be written, or the store can't be reached.
        WeightsError: there is nothing to resume.
        ConfigError: torchrun started several processes, which know nothing of each other.
    """
    if launched() and world_size() == 1:
        raise ConfigError(
            "torchrun started several processes; give --config_file the bundle's multi_gpu_train.json too"
        )
    gathered(None)
    return from_first(lambda: _prepare(output_dir, resume, overwrite))


def _prepare(output_dir: Path | str, resume: bool, overwrite: bool) -> Path:
    destination = Destination(output_dir)
    folder = destination.local.absolute()
    destination.check_writable()
    if resume:
        destination.fetch(name for name in OWN if name not in ("tensorboard", "mlflow"))
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
    """Runs `trainer` to its end, from its last checkpoint when `resume` is set; SIGTERM and Ctrl-C leave it resumable.

    Args:
        trainer: to run.
        handlers: its handlers; one of them is the `Checkpoint`.
        resume: go on from `last.pt`.
    """
    checkpoint = next(handler for handler in handlers if isinstance(handler, Checkpoint))
    checkpoint.on_epoch = _ON_EPOCH.get()
    checkpoint.settings, checkpoint.overrides = _SETTINGS.get() or (None, None)
    with StopRequest() as checkpoint.stop:
        left = not resume or checkpoint.restore(trainer)
        if left:
            trainer.run()
        if rank() == 0 and (left or not (checkpoint.output_dir / _CURVES).is_file()):
            _draw_curves(checkpoint)
            with checkpoint.destination.kept_on_failure():
                checkpoint.publish(OWN)
    # not asked of the engines, which know nothing when there was nothing left to train
    history = from_first(lambda: json.loads((checkpoint.output_dir / "history.json").read_text()))
    return Training(
        weights=_weights(checkpoint.destination),
        epochs=len(history["epochs"]),
        best_metric=float(checkpoint.validator.state.best_metric),
        stopped_early=history["stopped_early"],
    )


def _draw_curves(checkpoint: Checkpoint) -> None:
    """Writes `curves.png`: loss and validation Dice by epoch, and which epoch's weights were kept."""
    file = checkpoint.output_dir / _CURVES
    kept = checkpoint.validator.state.best_metric_epoch
    name = Path(str(checkpoint.destination)).absolute().name.encode(errors="replace").decode()
    try:
        # here, since only the end of a training needs matplotlib
        from radseg.pipelines.report.plots import training_curves
        from radseg.pipelines.report.plots.training_curves import Training as Course

        picture = training_curves([Course(name, 0, checkpoint.epochs, kept)])
        assert picture is not None  # there is a history
        write_whole(file, picture)
    except Exception as error:  # the weights are there; a picture is not worth their training
        _logger.warning("%s: can't be written (%s)", file, getattr(error, "strerror", None) or first_line(error))


def _weights(destination: Destination) -> Path | str:
    return destination.local / "model.pt" if destination.url is None else f"{destination}/model.pt"
