"""The bundles: one folder each, found by name, so that a new bundle is a new folder and nothing else."""

import sys
from pathlib import Path
from types import FrameType

_HERE = Path(__file__).parent


def names() -> list[str]:
    """Names of the bundles that come with radseg, sorted."""
    return sorted(folder.name for folder in _HERE.iterdir() if (folder / "metadata.json").is_file())


def root(name: str) -> str:
    """Folder of the bundle `name`; every config of a bundle asks for its own place here.

    Raises:
        FileNotFoundError: there is no such bundle.
    """
    folder = _HERE / name
    if not (folder / "metadata.json").is_file():
        raise FileNotFoundError(f"no bundle called {name!r}; there are {', '.join(names())}")
    return str(folder)


def configs(root: Path) -> Path:
    """Folder of the configs and metadata.json of a bundle: `configs` below its root if packed, else the root itself."""
    inner = root / "configs"
    return inner if (inner / "metadata.json").is_file() else root


def packed_root() -> str:
    """Folder of the packed bundle whose config MONAI evaluates just now; else the current one, as in MONAI's bundles.

    A config can't know its place: of what is at work only MONAI's workflow remembers the file that it was read from.
    """
    workflow = sys.modules.get("monai.bundle.workflows")
    frame: FrameType | None = sys._getframe(1) if workflow is not None else None
    while frame is not None:
        running = frame.f_locals.get("self")
        if workflow is not None and isinstance(running, workflow.ConfigWorkflow):
            place = Path(running.config_root_path).absolute()
            return str(place.parent if place.name == "configs" else place)
        frame = frame.f_back
    return "."
