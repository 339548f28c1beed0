"""A training that is stopped or killed goes on as if it hadn't been."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import EarlyStopHandler, LrScheduleHandler, MeanDice, ValidationHandler, from_engine
from monai.transforms import Compose, RandGaussianNoised
from toy_training import CPU, Images, Network

from radseg.pipelines.errors import WeightsError
from radseg.pipelines.handlers import EpochReport, EpochSeed, RefreshBatchNorm, StepLoss
from radseg.pipelines.train import run_training
from radseg.pipelines.training.checkpoint import Checkpoint
from radseg.pipelines.training.epoch_dataset import EpochDataset
from radseg.pipelines.training.shard_sampler import ShardSampler

EPOCHS, STEPS = 3, 5
Hook = Callable[[str, Engine], None]


def _train(folder: Path, resume: bool = False, accumulate: int = 1, hook: Hook | None = None, **changed: Any) -> None:
    """A training with dropout, batch norm, augmentation, Adam, a schedule and early stopping: 3 epochs of 5 steps."""
    images = Images(9)
    settings = {"transform": dict, "progress": False, "repeats": 1}
    training = EpochDataset(
        [images[i] for i in range(9)], augmentation=Compose([RandGaussianNoised("image", 1.0, std=0.2)]), **settings
    )
    network = Network(batch_norm=True, dropout=0.4)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=0)
    early_stop = EarlyStopHandler(patience=3, score_function=lambda engine: engine.state.metrics["val_dice"])
    validator = SupervisedEvaluator(
        device=CPU,
        val_data_loader=DataLoader(EpochDataset([images[i] for i in range(3)], **settings), batch_size=1),
        network=network,
        key_val_metric={"val_dice": MeanDice(output_transform=from_engine(["pred", "label"]))},
        postprocessing=lambda data: data | {"pred": (data["pred"] > 0).float()},
        val_handlers=[
            LrScheduleHandler(
                scheduler, print_lr=False, step_transform=lambda engine: engine.state.metrics["val_dice"]
            ),
            early_stop,
        ],
    )
    batch = changed.get("batch", 2)
    loader = DataLoader(training, batch_size=batch, sampler=ShardSampler(training, 1, 0, seed=1, batch_size=batch))
    handlers = [
        EpochSeed(1, training),
        StepLoss(loader),
        RefreshBatchNorm(network, loader, CPU, batches=2),
        ValidationHandler(1, validator),
        EpochReport(validator, optimizer, show=False),
        Checkpoint(folder, network, optimizer, validator, scheduler, early_stop),
    ]
    trainer = SupervisedTrainer(
        device=CPU,
        max_epochs=changed.get("epochs", EPOCHS),
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=torch.nn.BCEWithLogitsLoss(),
        train_handlers=handlers,
        accumulation_steps=changed.get("accumulate", accumulate),
    )
    early_stop.set_trainer(trainer)
    if hook is not None:
        trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: hook("training", engine))
        validator.add_event_handler(Events.ITERATION_STARTED, lambda engine: hook("validation", engine))
        validator.add_event_handler(Events.COMPLETED, lambda engine: hook("validated", engine))
    run_training(trainer, handlers, resume)


def _left(folder: Path) -> tuple[str, Any, dict[str, Any]]:
    """History, and last.pt with what tells of the optimiser and the network."""
    saved = torch.load(folder / "last.pt", weights_only=True)
    return (folder / "history.json").read_text(), saved["optimizer"]["state"], saved["network"]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Any]:
    made: dict[int, Any] = {}

    def left(accumulate: int) -> Any:
        if accumulate not in made:
            folder = tmp_path_factory.mktemp("whole")
            _train(folder, accumulate=accumulate)
            made[accumulate] = _left(folder)
        return made[accumulate]

    return left


def _signal_at(kind: str, epoch: int, iteration: int, number: int = signal.SIGTERM) -> Hook:
    def hook(where: str, engine: Engine) -> None:
        if (where, engine.state.epoch, engine.state.iteration) == (kind, epoch, iteration):
            signal.raise_signal(number)

    return hook


STOPS = [
    ("training", 1, 2, 2),  # in mid-epoch
    ("training", 2, 10, 10),  # in an epoch's last step
    ("training", 3, 12, 12),
    ("validation", 1, 1, 5),  # the epoch is trained, not validated
    ("validation", 3, 2, 15),  # in the last validation of all
]


@pytest.mark.parametrize(("kind", "epoch", "iteration", "steps"), STOPS)
def test_stopped_by_sigterm_and_resumed_equals_uninterrupted(
    kind: str, epoch: int, iteration: int, steps: int, uninterrupted: Any, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"):
        _train(tmp_path, hook=_signal_at(kind, epoch, iteration))
    assert signal.getsignal(signal.SIGTERM) == before
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert (saved["epoch"], len(saved["losses"])) == (epoch - 1, steps)
    _train(tmp_path, resume=True)
    assert _same(_left(tmp_path), uninterrupted(1))


def test_a_second_stop_in_the_epoch_and_accumulated_gradients_change_nothing(
    uninterrupted: Any, tmp_path: Path
) -> None:
    for iteration, steps in ((1, 2), (3, 4)):  # the step in hand is finished: two batches
        with pytest.raises(SystemExit):
            _train(tmp_path, resume=iteration > 1, accumulate=2, hook=_signal_at("training", 1, iteration))
        assert len(torch.load(tmp_path / "last.pt", weights_only=True)["losses"]) == steps
    _train(tmp_path, resume=True, accumulate=2)
    assert _same(_left(tmp_path), uninterrupted(2))


def test_a_stop_that_comes_while_an_epoch_is_saved_waits_for_that(uninterrupted: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="143"):
        _train(tmp_path, hook=_signal_at("validated", 1, 3))
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert (saved["epoch"], saved["position"]) == (1, None)
    _train(tmp_path, resume=True)
    assert _same(_left(tmp_path), uninterrupted(1))


def test_ctrl_c_is_ctrl_c_for_whoever_calls_from_python(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, hook=_signal_at("training", 1, 3, signal.SIGINT))
    signal.signal(signal.SIGINT, before)
    assert len(torch.load(tmp_path / "last.pt", weights_only=True)["losses"]) == 3
    assert "resume goes on from there" in caplog.text


def test_killed_at_any_point_a_training_goes_on_after_its_last_whole_epoch(
    uninterrupted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk before each file is moved into place or deleted is what a kill there would leave."""
    run, killed = tmp_path / "run", []

    def photographed(change: Any) -> Any:
        def changed(path: Path, *args: Any, **kwargs: Any) -> Any:
            if path.parent == run and (run / "last.pt").is_file():
                killed.append(shutil.copytree(run, tmp_path / f"killed{len(killed)}"))
            return change(path, *args, **kwargs)

        return changed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", photographed(Path.replace))
        patch.setattr(Path, "unlink", photographed(Path.unlink))
        _train(run)
    assert len(killed) >= 10
    for folder in killed:
        _train(folder, resume=True)
        assert _same(_left(folder), uninterrupted(1))


def test_a_checkpoint_from_before_positions_were_saved_still_loads(uninterrupted: Any, tmp_path: Path) -> None:
    _train(tmp_path, epochs=2)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    old = {key: saved[key] for key in saved.keys() - {"position", "accumulation", "trainer", "dealing"}}
    torch.save(old, tmp_path / "last.pt")
    _train(tmp_path, resume=True)
    assert _same(_left(tmp_path), uninterrupted(1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"batch": 3}, "5 steps an epoch, now there are 3"), ({"accumulate": 2}, "was trained with accumulate 1")],
)
def test_going_on_in_mid_epoch_in_another_way_is_refused(changed: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        _train(tmp_path, hook=_signal_at("training", 1, 2))
    with pytest.raises(WeightsError, match=message):
        _train(tmp_path, resume=True, **changed)


def test_going_on_after_an_epoch_with_another_batch_size_is_refused_though_it_has_as_many_steps(tmp_path: Path) -> None:
    _train(tmp_path, epochs=1, batch=4)
    with pytest.raises(
        WeightsError, match=r"last\.pt: was trained with batch_size 4, now it is 3; resume with the same"
    ):
        _train(tmp_path, resume=True, batch=3)


def test_an_ignored_ctrl_c_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    _train(tmp_path, hook=lambda where, engine: os.kill(os.getpid(), signal.SIGINT))
    assert signal.signal(signal.SIGINT, before) == signal.SIG_IGN
    assert (tmp_path / "history.json").is_file()
