"""The environment of MONAI Label's processes: its settings, our stand-ins first on the path, nothing by accident."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from radseg.pipelines.label_server.settings import Settings

_STAND_INS = Path(__file__).parent / "stand_ins"
# how an archive is logged in to can't stand on a command line
_KEPT = (
    "MONAI_LABEL_DICOMWEB_USERNAME",
    "MONAI_LABEL_DICOMWEB_PASSWORD",
    "MONAI_LABEL_QIDO_PREFIX",
    "MONAI_LABEL_WADO_PREFIX",
    "MONAI_LABEL_DICOMWEB_SEARCH_FILTER",
)


def environment(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """What the server's process is started with, from what this one has."""
    kept = {name: value for name, value in given.items() if not name.startswith("MONAI_LABEL_") or name in _KEPT}
    folder = settings.folder
    conf = {
        "bundles": ",".join(settings.bundles),
        "workspace": settings.workspace,
        "device": settings.device,
        "weights": ",".join(settings.weights),
    }
    ours = {
        "MONAI_LABEL_APP_DIR": str(folder / "app"),
        "MONAI_LABEL_STUDIES": settings.studies,
        "MONAI_LABEL_APP_CONF": json.dumps(conf),
        "MONAI_LABEL_SERVER_PORT": str(settings.port),
        "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "dicomweb"),
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "1",
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "TMPDIR": str(folder / "tmp"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_STAND_INS), given.get("PYTHONPATH", "")])),
    }
    return {**kept, **ours}
