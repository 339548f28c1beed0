"""A checkpoint refuses what it doesn't belong to."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine

from radseg.pipelines.errors import WeightsError
from radseg.pipelines.training.checkpoint import Checkpoint


def _trained(
    folder: Path, network: torch.nn.Module, epochs: int = 2, recipe: dict[str, object] | None = None
) -> tuple[Engine, Checkpoint]:
    """A trainer of three steps an epoch whose loss and validation metric are made up."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    validator = Engine(lambda engine, batch: None)
    validator.state.epoch = 0
    validator.state.best_metric, validator.state.best_metric_epoch = -1.0, -1

    def step(engine: Engine, batch: Any) -> list[dict[str, float]]:
        return [{"loss": 1.0 / engine.state.iteration}]

    trainer = Engine(step)
    trainer.state.max_epochs, trainer.state.epoch_length = epochs, 3
    checkpoint = Checkpoint(folder, network, optimizer, validator, recipe=recipe)

    def validate(engine: Engine) -> None:
        validator.state.epoch = engine.state.epoch
        validator.state.metrics = {"val_dice": 0.5}
        if validator.state.best_metric < 0.5:
            validator.state.best_metric, validator.state.best_metric_epoch = 0.5, engine.state.epoch

    from ignite.engine import Events

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    checkpoint.attach(trainer)
    return trainer, checkpoint


def test_only_the_best_epoch_s_weights_are_kept(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 1)
    trainer, checkpoint = _trained(tmp_path, network)
    trainer.run([0, 1, 2], max_epochs=2, epoch_length=3)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert saved["best_metric_epoch"] == 1
    assert saved["losses"] == [pytest.approx(1 / step) for step in range(1, 7)]
    assert [row["val_dice"] for row in checkpoint.epochs] == [0.5, 0.5]
    assert not list(tmp_path.glob("*.part"))


def test_resuming_nothing_says_so(tmp_path: Path) -> None:
    trainer, checkpoint = _trained(tmp_path, torch.nn.Linear(2, 1))
    with pytest.raises(WeightsError, match="nothing to resume"):
        checkpoint.restore(trainer)


def test_another_network_or_dataset_is_refused(tmp_path: Path) -> None:
    trainer, _ = _trained(tmp_path, torch.nn.Linear(2, 1))
    trainer.run([0, 1, 2], max_epochs=2, epoch_length=3)
    other, wider = _trained(tmp_path, torch.nn.Linear(3, 1))
    with pytest.raises(WeightsError, match="another network"):
        wider.restore(other)
    longer, checkpoint = _trained(tmp_path, torch.nn.Linear(2, 1))
    longer.state.epoch_length = 4
    with pytest.raises(WeightsError, match="3 steps an epoch, now there are 4"):
        checkpoint.restore(longer)


def test_other_settings_or_a_damaged_file_are_refused(tmp_path: Path) -> None:
    trainer, _ = _trained(tmp_path, torch.nn.Linear(2, 1))
    trainer.run([0, 1, 2], max_epochs=2, epoch_length=3)
    other, checkpoint = _trained(tmp_path, torch.nn.Linear(2, 1), recipe={"seed": 0, "loss": torch.nn.MSELoss()})
    with pytest.raises(WeightsError, match="was trained with other seed, loss"):
        checkpoint.restore(other)
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[:100])
    again, checkpoint = _trained(tmp_path, torch.nn.Linear(2, 1))
    with pytest.raises(WeightsError, match="damaged"):
        checkpoint.restore(again)


def test_a_finished_training_has_nothing_left_to_do(tmp_path: Path) -> None:
    trainer, _ = _trained(tmp_path, torch.nn.Linear(2, 1))
    trainer.run([0, 1, 2], max_epochs=2, epoch_length=3)
    again, checkpoint = _trained(tmp_path, torch.nn.Linear(2, 1))
    assert not checkpoint.restore(again)
    more, checkpoint = _trained(tmp_path, torch.nn.Linear(2, 1), epochs=5)
    assert checkpoint.restore(more)
    assert more.state.epoch == 2
