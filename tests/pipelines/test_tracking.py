"""Curves of a training: TensorBoard's unless told otherwise, MLflow's into a database beside the weights."""

import importlib.util
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.handlers import Tracking

MLFLOW = """
import socket, sys, warnings
warnings.simplefilter("ignore")

def refuse(*address, **_):
    print("wants to connect to", address)
    raise OSError("there is no network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
from ignite.engine import Engine
from radseg.pipelines.handlers import Tracking

validator = Engine(lambda engine, batch: None)
trainer = Engine(lambda engine, batch: [{"loss": 1 / engine.state.iteration}])
trainer.optimizer = None
Tracking("mlflow", sys.argv[1], tag_name="train_loss").attach(trainer)
Tracking("mlflow", sys.argv[1], iteration_log=False).attach(validator)

def validate(engine):
    validator.state.metrics = {"val_dice": engine.state.epoch / 2}
    validator.state.epoch = validator.state.max_epochs = engine.state.epoch

from ignite.engine import Events
validator.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update(val_dice=0.5))
trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: validator.run([0], max_epochs=1))
trainer.optimizer = type("Optimizer", (), {"param_groups": [{"lr": 0.1}]})()
trainer.run([0, 1], max_epochs=2)
"""


def _run(tracking: Tracking) -> None:
    engine = Engine(lambda engine, batch: [{"loss": 1.0}])
    tracking.attach(engine)
    engine.run([0, 1], max_epochs=1)


def test_tensorboard_s_curves_are_opened_when_the_training_starts(tmp_path: Path) -> None:
    tracking = Tracking("tensorboard", tmp_path / "run", tag_name="train_loss")
    assert not (tmp_path / "run").exists()
    _run(tracking)
    assert [file.parent.name for file in tmp_path.rglob("events.*")] == ["tensorboard"]


def test_no_tracking_leaves_nothing(tmp_path: Path) -> None:
    _run(Tracking(None, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_another_tracker_or_a_missing_one_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="tracker 'wandb' is not known; use tensorboard, mlflow or null"):
        Tracking("wandb", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'radseg\[track\]'"):
        Tracking("mlflow", tmp_path)


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow isn't installed (extra [track])")
def test_mlflow_s_curves_are_in_one_run_of_a_database_and_nothing_is_sent(tmp_path: Path) -> None:
    # MLflow keeps still by itself where it sees pytest or a CI service; no user has these
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "OMP_NUM_THREADS")}
    ended: Any = subprocess.run(
        [sys.executable, "-c", MLFLOW, tmp_path / "run"], env=bare, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    with sqlite3.connect(tmp_path / "run" / "mlflow" / "mlflow.db") as database:
        rows = database.execute("select key, step, value, run_uuid from metrics").fetchall()
        states = database.execute("select name, status from runs").fetchall()
    assert {(step, value) for key, step, value, _ in rows if key == "train_loss"} == {
        (1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)
    }  # fmt: skip
    assert [value for key, _, value, _ in rows if key == "val_dice"] == [0.5, 0.5]
    assert len({run for *_, run in rows}) == 1
    assert states == [("run", "FINISHED")]
    database.close()
