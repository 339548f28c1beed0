"""Training from submitted labels: the serving version's weights go on being trained, and become a new version.

MONAI Label runs this in a process of its own, which may be killed at any time: the version that serves is left alone
until the new one is whole.
"""

import logging
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from radseg.pipelines.errors import RadsegError, one_line
from radseg.pipelines.label_server.durable import as_json, locked, write_whole
from radseg.pipelines.label_server.models.serving import Described, Serving
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.splits import split_groups
from radseg.pipelines.train import train

_logger = logging.getLogger("radseg.label_server")

_NOISE = ("model", "device", "gpus", "multi_gpu", "local_rank", "client_id", "name", "logging", "run_id")
"""What MONAI Label and its clients send along, and which changes nothing here; the server's device is its own."""


@dataclass(frozen=True)
class Settings:
    """What a client may say of a training.

    Attributes:
        max_epochs: epochs to train.
        val_split: share of the labelled patients that validate.
        pretrained: go on from the version that serves; else start anew.
        learning_rate, batch_size, patience: as in the bundle's train.json; None leaves them as they are there.
        seed: of the split and of the training.
    """

    max_epochs: int = 10
    val_split: float = 0.2
    pretrained: bool = True
    learning_rate: float | None = None
    batch_size: int | None = None
    patience: int | None = None
    seed: int = 0

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> "Settings":
        """The settings in a request.

        Raises:
            Refused: an unknown key, or a value of another kind or out of range.
        """
        known: dict[str, Any] = {}
        for key, value in request.items():
            if key in _NOISE:
                continue
            if key not in _RANGES and key != "pretrained":
                raise Refused(400, f"training takes no {key!r}; it takes {', '.join([*_RANGES, 'pretrained'])}")
            known[key] = _switch(key, value) if key == "pretrained" else _number(key, value)
        return cls(**known)

    def overrides(self) -> dict[str, Any]:
        """What of it overrides the bundle's train.json."""
        said = {"learning_rate": self.learning_rate, "batch_size": self.batch_size, "patience": self.patience}
        given = {key: value for key, value in said.items() if value is not None}
        return {"max_epochs": self.max_epochs, "seed": self.seed, **given}


# least and most, and whether the number is whole
_RANGES: dict[str, tuple[float, float, bool]] = {
    "max_epochs": (1, 10_000, True),
    "val_split": (0.0, 0.9, False),
    "learning_rate": (0.0, 1.0, False),
    "batch_size": (1, 1024, True),
    "patience": (1, 10_000, True),
    "seed": (0, 2**31 - 1, True),
}


class Train(TrainTask):
    """Trains a model from the final labels and adds the weights as a new version.

    Args:
        described: the model.
        serving: gives its versions, and the device.
    """

    def __init__(self, described: Described, serving: Serving) -> None:
        super().__init__(f"Trains {described.name} on from the labels that were submitted")
        self.described = described
        self.serving = serving

    def config(self) -> dict[str, Any]:
        """The settings and their defaults, which clients show and send back."""
        defaults = Settings()
        return {"max_epochs": defaults.max_epochs, "val_split": defaults.val_split}

    def stats(self) -> dict[str, Any]:
        """What is known of the version that serves."""
        version = self.serving.versions.serving(self.described.name)
        return {"version": version.number, "created": version.created, **version.note}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Trains; gives the new version's number and what stands in its note.

        Raises:
            Refused: a bad request, too few labels, another training is running, or the training failed.
        """
        settings = Settings.of(request)
        try:
            with locked(self.serving.versions.training_lock(), wait=False):
                return self._train(settings, datastore)
        except BlockingIOError as error:
            raise Refused(429, "another training is running; wait for its end or stop it") from error

    def _train(self, settings: Settings, datastore: Datastore) -> dict[str, Any]:
        versions, name = self.serving.versions, self.described.name
        versions.prepare(name)
        parent, start = versions.serving(name), time.monotonic()
        labelled = datastore.datalist()
        pairs = [pair for pair in labelled if self.described.reads(Path(pair["image"]))]
        if labelled and not pairs:
            raise Refused(
                409, f"no image with a final label is of a kind that {name} reads; submit labels of such images"
            )
        sides = split(pairs, settings.val_split, settings.seed)
        run = versions.runs(name) / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        _clear(run.parent)
        write_whole({run / "datalist.json": as_json(sides)})
        rows: list[dict[str, float]] = []
        server = os.getppid()

        def note(row: dict[str, float]) -> None:
            if os.getppid() != server:
                raise Refused(410, "the server that this training was for is gone; start it and train again")
            rows.append(row)
            numbers = {key: round(value, 5) for key, value in row.items() if key != "epoch"}
            _logger.info("%s: epoch %d of %d: %s", name, row["epoch"], settings.max_epochs, numbers)

        counts = {split: len(items) for split, items in sides.items()}
        _logger.info("%s: training from version %d on %s", name, parent.number, counts)
        weights = parent.weights if settings.pretrained else None
        try:
            training = train(
                parent.folder,
                on_epoch=note,
                trust_config=True,  # of a folder that the server itself has packed
                dataset_dir=run,
                datalist=run / "datalist.json",
                output_dir=run / "training",
                device=self.serving.device,
                weights=weights,
                tracker=None,
                progress=False,
                **settings.overrides(),
            )
            about = {
                "origin": "trained",
                "from_version": None if weights is None else parent.number,
                "labels": len(pairs),
                "labels_of_other_images": len(labelled) - len(pairs),
                **counts,
                "epochs": training.epochs,
                "best_epoch": next((row for row in rows if training.best_metric in row.values()), {}),
                "seconds": round(time.monotonic() - start, 1),
            }
            number = versions.add(name, training.weights, note=about)
        except Refused:
            raise
        except RadsegError as error:
            line = _nameless(one_line(error), pairs)
            _logger.error("training of %s failed: %s", name, line)
            raise Refused(409, f"training of {name} failed: {line}") from None  # its cause names files
        _logger.info("%s: version %d serves now", name, number)
        shutil.rmtree(run / "training", ignore_errors=True)
        return {"model": name, "version": number, **about}


def split(pairs: Sequence[Mapping[str, Any]], val_split: float, seed: int) -> dict[str, list[dict[str, Any]]]:
    """A datalist of image and label pairs, split by patient: seeded, the same for the same images.

    Args:
        pairs: {"image", "label"}, and "patient" where that is known; else each image is its own patient.
        val_split: share that validates; with 0 the training images validate, which tells nothing of other images.
        seed: another seed, another split.

    Raises:
        Refused: fewer labels than two sides need.
    """
    items = [{**pair, "patient": str(pair.get("patient") or Path(pair["image"]).name)} for pair in pairs]
    if not items:
        raise Refused(409, "no image has a final label yet; submit some first")
    if val_split == 0:
        return {"training": items, "validation": [dict(item) for item in items]}
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item["patient"]] = sizes.get(item["patient"], 0) + 1
    if len(sizes) < 2:
        raise Refused(409, "final labels of one patient can't train and validate; submit another, or give val_split 0")
    sides = split_groups(sizes, (1 - val_split, val_split), seed)
    return {
        side: [item for item in items if sides[item["patient"]] == number]
        for number, side in enumerate(("training", "validation"))
    }


def _nameless(line: str, pairs: Sequence[Mapping[str, Any]]) -> str:
    """A line for logs, in which labelled images are numbers (as they are sorted): a file's name may be a patient's."""
    for number, pair in enumerate(pairs, 1):
        for what in ("image", "label"):
            path = Path(pair[what])
            line = line.replace(str(path), f"{what} {number}").replace(path.name, f"{what} {number}")
    return line


def _clear(runs: Path) -> None:
    """Deletes what earlier trainings left, killed ones too; none is running while this one holds the lock."""
    if runs.is_dir():
        for left in runs.iterdir():
            shutil.rmtree(left, ignore_errors=True)


def _number(key: str, value: Any) -> float | int:
    least, most, whole = _RANGES[key]
    kind = "whole number" if whole else "number"
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not least <= value <= most or (whole and value != int(value)):
        raise Refused(400, f"{key} must be a {kind} from {least:g} to {most:g}")
    return int(value) if whole else float(value)


def _switch(key: str, value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise Refused(400, f"{key} must be true or false")
    return text == "true"
