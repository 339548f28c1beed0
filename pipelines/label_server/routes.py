"""What the server answers beside MONAI Label's own routes: versions of a model, and going back to one."""

from typing import Any

from fastapi import APIRouter
from monailabel.interfaces.utils.app import app_instance

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.label_server.models.versions import Versions
from radseg.pipelines.label_server.refused import Refused

router = APIRouter(prefix="/radseg", tags=["radseg"])


@router.get("/versions/{model}", summary="Versions of a model, and which of them serves")
async def versions(model: str) -> dict[str, Any]:
    """All versions of a model."""
    return _told(_of(model), model)


@router.post("/versions/{model}/rollback", summary="Have another version serve")
async def roll_back(model: str, to: int) -> dict[str, Any]:
    """Has another version serve; none is deleted."""
    found = _of(model)
    try:
        found.roll_back(model, to)
    except ConfigError as error:
        raise Refused(503, str(error)) from error
    except InputError as error:
        raise Refused(404, str(error)) from error
    return _told(found, model)


def _of(model: str) -> Versions:
    app = app_instance()
    if model not in app.serving.models:
        raise Refused(404, f"no model {model!r} here; there are {', '.join(app.serving.models)}")
    found: Versions = app.versions
    return found


def _told(found: Versions, model: str) -> dict[str, Any]:
    return {"model": model, "current": found.current(model), "versions": [one.told() for one in found.list(model)]}
