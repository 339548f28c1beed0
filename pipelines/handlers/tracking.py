"""Curves of a training for TensorBoard or MLflow, kept in the folder of the run."""

import importlib.util
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from monai.handlers import MLFlowHandler, TensorBoardStatsHandler

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.handlers.at_start import AtStart
from radseg.pipelines.io.store.destination import Destination

# where each keeps its curves, below the folder of the run
FOLDERS = {"tensorboard": "tensorboard", "mlflow": "mlflow"}
_MLFLOW_NEEDS = ("mlflow", "sqlalchemy", "alembic")


class Tracking:
    """Records what an engine computes, by MONAI's handlers; nothing is opened before the engine starts.

    TensorBoard's event files are in `<output_dir>/tensorboard`, MLflow's SQLite database is
    `<output_dir>/mlflow/mlflow.db`; trainer and validator of a run write into one MLflow run, and so does the
    resumption of one that was stopped, which stands there as running until then. What is trained on after a run's end
    is a run of its own.
    MLflow's own usage reports are switched off.

    Args:
        to: "tensorboard", "mlflow" or None for neither.
        output_dir: folder of the run, or its URL.
        iteration_log: record every iteration's output, beside every epoch's metrics.
        tag_name: name of that output's curve.
        output_transform: takes the recorded number from `engine.state.output`.

    Raises:
        ConfigError: `to` is none of these, or MLflow isn't installed.
    """

    def __init__(
        self,
        to: str | None,
        output_dir: Path | str,
        iteration_log: bool = True,
        tag_name: str = "Loss",
        output_transform: Callable[[Any], Any] = lambda output: output[0]["loss"],
    ) -> None:
        if to is not None and to not in FOLDERS:
            raise ConfigError(f"tracker {to!r} is not known; use tensorboard, mlflow or null")
        if to == "mlflow" and not all(importlib.util.find_spec(name) for name in _MLFLOW_NEEDS):
            raise ConfigError("tracker 'mlflow' isn't installed; pip install 'radseg[track]'")
        self.to = to
        self.output_dir = output_dir
        self.settings = {"iteration_log": iteration_log, "tag_name": tag_name, "output_transform": output_transform}

    def attach(self, engine: Engine) -> None:
        """Records from the start of `engine`."""
        if self.to == "tensorboard":
            AtStart(self._tensorboard).attach(engine)
        elif self.to == "mlflow":  # a run ends with the training, not with each validation
            AtStart(partial(self._mlflow, closes=hasattr(engine, "optimizer"))).attach(engine)

    def _folder(self) -> Path:
        folder = Destination(self.output_dir).local.absolute() / FOLDERS[str(self.to)]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _tensorboard(self) -> TensorBoardStatsHandler:
        return TensorBoardStatsHandler(log_dir=str(self._folder()), **self.settings)

    def _mlflow(self, closes: bool) -> MLFlowHandler:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        database = self._folder() / "mlflow.db"
        return MLFlowHandler(
            tracking_uri=f"sqlite:///{database}",
            experiment_name="radseg",
            run_name=database.parent.parent.name,
            close_on_complete=closes,
            **self.settings,
        )
