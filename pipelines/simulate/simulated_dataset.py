"""Writes a dataset of simulated images: images/, masks/ and a datalist that says so, all of it or nothing."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radseg.pipelines.console import tracked
from radseg.pipelines.datalist import SPLITS
from radseg.pipelines.errors import InputError
from radseg.pipelines.splits import split_groups

Save = Callable[[np.random.Generator, Path, Path], None]
"""Simulates an image of a patient by what draws it, and saves it and its mask under the names given."""


@dataclass(frozen=True)
class Simulated:
    """What is to be simulated.

    Attributes:
        patients: names, and how an image of each is made.
        count: images of each patient.
        seed: of everything that is drawn, the split too.
        suffix: of the files, such as ".png".
        about: name, description and labels, for the datalist.
        doing: what the progress bar says.
    """

    patients: Sequence[tuple[str, Save]]
    count: int
    seed: int
    suffix: str
    about: dict[str, Any]
    doing: str


def refuse_full(folder: Path) -> None:
    """Refuse what isn't a new or empty folder.

    Raises:
        InputError: it isn't.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: isn't an empty folder; choose another with --output")


def write_simulated(simulated: Simulated, folder: Path, progress: bool) -> dict[str, int]:
    """Write the dataset, patients split 70/10/20; fewer than three all train.

    Args:
        simulated: what to write; image n of patient m is drawn by the seed (seed, m, n).
        folder: new or empty (see `refuse_full`).
        progress: show a bar.

    Returns:
        Number of images in each split.

    Raises:
        InputError: the folder can't be written.
    """
    split_of = _splits([name for name, _ in simulated.patients], simulated.seed)
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
            place = Path(unfinished) / "dataset"
            (place / "images").mkdir(parents=True)
            (place / "masks").mkdir()
            jobs = [
                (number, patient, save, view)
                for number, (patient, save) in enumerate(simulated.patients)
                for view in range(simulated.count)
            ]
            for number, patient, save, view in tracked(jobs, simulated.doing, progress):
                name = f"{patient}-{view + 1:03d}{simulated.suffix}"
                rng = np.random.default_rng([simulated.seed, number, view])
                save(rng, place / "images" / name, place / "masks" / name)
                item = {"image": f"images/{name}", "label": f"masks/{name}", "patient": patient}
                lists[split_of[patient]].append(item)
            described = {**simulated.about, "simulated": True, "seed": simulated.seed}
            (place / "datalist.json").write_text(json.dumps({**described, **lists}, indent=2) + "\n")
            if folder.exists():
                folder.rmdir()
            place.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror}); choose another with --output") from error
    return {split: len(items) for split, items in lists.items()}


def _splits(patients: list[str], seed: int) -> dict[str, str]:
    if len(patients) < len(SPLITS):
        return dict.fromkeys(patients, SPLITS[0])
    sides = split_groups(dict.fromkeys(patients, 1), (70, 10, 20), seed)
    return {patient: SPLITS[side] for patient, side in sides.items()}
