"""Training every model that is served, one after the other: what Slicer's "ALL" and OHIF's "Update Model" ask for."""

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints.train import run_model
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.task import AsyncTask

from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.tasks.begun import wait_until_begun

router = APIRouter()


@router.post("/train/")
def train_all(params: dict[str, Any]) -> dict[str, Any]:
    """Starts a training of each model.

    Args:
        params: settings by model; those of another key are nobody's. MONAI Label would mix them all.

    Raises:
        Refused: a training is running.
    """
    if AsyncTask.status("train", check_if_running=True)[0] is not None:
        raise Refused(429, "another training is running; wait for its end or stop it")
    models = list(app_instance()._trainers)
    started = {
        model: {"result": run_model(model, dict(params.get(model) or {}), enqueue=True), "detail": None}
        for model in models
    }
    wait_until_begun("train")
    return started
