"""The bundles: one folder each, found by name, so that a new bundle is a new folder and nothing else."""

from pathlib import Path

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
