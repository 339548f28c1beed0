"""Which experiment a folder of results belongs to: one at a time, and never two kinds in one table."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import RUN_KEYS, top_key
from radseg.pipelines.datalist import read_splits
from radseg.pipelines.errors import ConfigError, WeightsError
from radseg.pipelines.io.store.local_copy import local_copy
from radseg.pipelines.overrides import told_apart
from radseg.pipelines.progress_lines import told
from radseg.pipelines.report.atomic import write_whole
from radseg.pipelines.weights import sha256_of

_FILE = "experiment.json"
_LOCK = ".lock"


def dataset_sha256(datalist: Path | str, dataset_dir: Path | str, progress: bool = False) -> str:
    """Hexadecimal sha256 over a datalist's bytes and those of every image and label that it names, in its order.

    `progress` says how far it is once it takes more than two seconds.

    Raises:
        InputError: the datalist can't be used or a file isn't there.
    """
    items = [item for split in read_splits(datalist, dataset_dir).values() for item in split]
    digest = hashlib.sha256(local_copy(datalist).read_bytes())
    for item in told(items, "hashing the dataset", progress):
        for path in (Path(item[key]) for key in ("image", "label") if key in item):
            files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
            for file in files:
                digest.update(bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()


def configs_sha256(bundle_root: Path) -> str:
    """That of train.json and evaluate.json, which say how all variants are trained and scored."""
    digest = hashlib.sha256()
    for name in ("train.json", "evaluate.json"):
        digest.update((configs(bundle_root) / name).read_bytes())
    return digest.hexdigest()


def recorded(overrides: Mapping[str, Any], folds: int = 1) -> dict[str, Any]:
    """The overrides that change what is computed; paths are left out, weights told by their sha256.

    Args:
        overrides: config ids and values; "{fold}" in weights stands for the number of each fold.
        folds: how many there are.

    Raises:
        WeightsError: weights aren't there or can't be read.
    """
    kept = {key: value for key, value in overrides.items() if top_key(key) not in RUN_KEYS}
    for key in ("weights", "encoder_weights"):
        if overrides.get(key) is not None:
            files = dict.fromkeys(weights_of(overrides[key], fold) for fold in range(folds))
            kept[key] = " ".join(f"sha256:{_digest(file, key)}" for file in files)
    return kept


def weights_of(weights: str | Path, fold: int) -> str:
    """The weights that a fold starts from: "{fold}" stands for its number."""
    return str(weights).replace("{fold}", str(fold))


def _digest(weights: str, key: str) -> str:
    try:
        return sha256_of(weights)
    except OSError as error:
        raise WeightsError(f"{weights}: can't be read ({error.strerror}); correct --{key}") from error


@contextmanager
def held_alone(output_dir: Path, wait: bool = False) -> Iterator[list[int]]:
    """Makes a folder and keeps other experiments out of it.

    Gives the descriptors that hold the lock; a process that inherits them holds it too.

    Args:
        output_dir: the folder.
        wait: until another has left it.

    Raises:
        ConfigError: another experiment is at work there, or the folder can't be written.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        stream = (output_dir / _LOCK).open("w")
    except OSError as error:
        raise ConfigError(f"{output_dir}: can't be written ({error.strerror}); choose another --output") from error
    with stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{output_dir}: another experiment is at work there; wait for it or stop it") from error
        except (ImportError, OSError):  # no locks on this system or disk
            pass
        yield [stream.fileno()]


def check_identity(output_dir: Path, settings: Mapping[str, Any], variants: Mapping[str, Any]) -> dict[str, Any]:
    """Sees that a folder holds no results of another experiment.

    Args:
        output_dir: the folder.
        settings: what must be the same for all runs in it, by name.
        variants: config overrides of those that are to be run; others may be there.

    Returns:
        What `write_identity` writes: settings and all variants.

    Raises:
        ConfigError: results folder of another experiment; names what differs.
    """
    wanted: dict[str, Any] = json.loads(json.dumps({"settings": settings, "variants": variants}))
    try:
        held = json.loads((output_dir / _FILE).read_text(encoding="utf-8"))
        earlier, others = held["settings"], held["variants"]
    except FileNotFoundError:
        return wanted
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{output_dir / _FILE}: damaged; choose another --output or delete {output_dir}") from error
    same = {name: earlier.get(name) == value for name, value in wanted["settings"].items()}
    other = [_told(name, earlier.get(name), wanted["settings"][name]) for name in same if not same[name]]
    other += [f"variant {name!r}" for name, one in wanted["variants"].items() if others.get(name, one) != one]
    if other:
        raise ConfigError(
            f"{output_dir}: results folder of another experiment (other {', '.join(other)}); choose another --output"
        )
    return {**wanted, "variants": {**others, **wanted["variants"]}}


def _told(name: str, before: Any, now: Any) -> str:
    """A setting that differs; of overrides, which of them."""
    which = told_apart(before, now) if isinstance(before, dict) and isinstance(now, dict) else ""
    return f"{name}: {which}" if which else name


def write_identity(output_dir: Path, identity: Mapping[str, Any]) -> None:
    """Writes down whose results a folder holds.

    Raises:
        ConfigError: it can't be written.
    """
    try:
        write_whole(output_dir / _FILE, [json.dumps(identity, indent=1) + "\n"])
    except OSError as error:
        raise ConfigError(f"{output_dir}: can't be written ({error.strerror}); choose another --output") from error
