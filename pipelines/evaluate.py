"""The verb `evaluate`: a bundle's masks against the truth, on the grid of the source, case by case."""

import csv
import dataclasses
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radseg.pipelines.bundle_loader import load_workflow, run_workflow
from radseg.pipelines.console import tracked
from radseg.pipelines.datalist import check_labels
from radseg.pipelines.engine import Effort, Predictor
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import load_mask, mask_on_image
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.metrics import label_metrics, mean_metrics, overlap_counts, pooled
from radseg.pipelines.provenance import Provenance

_logger = logging.getLogger("radseg.evaluate")

CONVENTION = (
    "overlap of two empty masks is 1, of one empty mask 0; distances need both masks, "
    "are left out of the mean otherwise and counted as undefined"
)


def evaluate(bundle: str | Path, *, trust_config: bool = False, **overrides: Any) -> dict[str, Any]:
    """Scores a bundle on one split of a datalist as its evaluate.json says.

    Args:
        bundle: name or folder.
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values, such as `dataset_dir`, `split`, `weights`, `output_dir`.

    Returns:
        What is also written to `metrics.json`.

    Raises:
        RadsegError: the config, the weights or the data can't be used.
    """
    result: dict[str, Any] = run_workflow(load_workflow(bundle, "evaluate", overrides, trust_config))
    return result


class Evaluator:
    """Predicts each item and writes `metrics.csv` (a row per case and label) and `metrics.json` (means).

    Args:
        items: datalist items with "image" and "label".
        predictor: the same that `segment` uses.
        output_dir: folder of the two files, or its URL.
        bundle_root: folder of the bundle, for its name and version.
        weights: the weights file or files, for their sha256.
        labels: names of the labels 1, 2, ….
        overrides: what a verb changed in the config; recorded.
        truth: array transform from the labels in the file to those of the bundle.
        surface_tolerance_mm: of the surface Dice.
        distances: also compute HD95 and surface Dice.
        progress: show a bar.
    """

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        predictor: Predictor,
        output_dir: Path | str,
        bundle_root: Path | str,
        weights: Path | str | Sequence[Path | str],
        labels: Sequence[str],
        overrides: Mapping[str, Any],
        truth: Callable[[torch.Tensor], torch.Tensor],
        surface_tolerance_mm: float = 2.0,
        distances: bool = True,
        progress: bool = True,
    ) -> None:
        self.items = list(items)
        self.predictor = predictor
        self.destination = Destination(output_dir)
        self.output_dir = self.destination.local
        self.labels = list(labels)
        self.truth = truth
        self.surface_tolerance_mm = surface_tolerance_mm
        self.distances = distances
        self.progress = progress
        self.provenance = Provenance.of(bundle_root, weights, [predictor.recipe, truth, self.labels], overrides)
        self.effort: Effort | None = None
        if not all("label" in item for item in self.items):
            raise InputError("an item of the datalist has no label to evaluate against; add it or choose another split")

    def run(self) -> dict[str, Any]:
        """Evaluates all items and returns what it wrote to `metrics.json`.

        Raises:
            InputError: an image or label can't be used, or a store can't be reached.
            ConfigError: the output folder can't be written.
        """
        self.destination.check_writable()
        named = list(zip(self.items, case_names([item["image"] for item in self.items]), strict=True))
        rows = [row for item, case in tracked(named, "evaluating", self.progress) for row in self._rows(item, case)]
        by_label = {}
        for name in self.labels:
            mine = [row for row in rows if row["label"] == name]
            pooled_dice = pooled(row["counts"] for row in mine).dice
            by_label[name] = {**mean_metrics([row["metrics"] for row in mine]), "pooled_dice": pooled_dice}
        result = {
            **dataclasses.asdict(self.provenance),
            "cases": len(self.items),
            "simulated": any(item.get("simulated", False) for item in self.items),
            "convention": CONVENTION,
            "engine": None if self.effort is None else dataclasses.asdict(self.effort),
            "surface_tolerance_mm": self.surface_tolerance_mm,
            "mean": by_label,
            "rows": [
                {"case": row["case"], "label": row["label"], "metrics": dataclasses.asdict(row["metrics"])}
                for row in rows
            ],
        }
        self._write(result)
        _logger.info("%d cases evaluated: %s", len(self.items), f"{self.destination}/metrics.json")
        return result

    def _rows(self, item: Mapping[str, Any], case: str) -> list[dict[str, Any]]:
        image, label = self.predictor.loader.load_image(item["image"]), load_mask(item["label"])
        label = mask_on_image(Path(item["image"]), image, Path(item["label"]), label)
        truth = np.asarray(self.truth(torch.from_numpy(label.array)[None])[0]).astype(np.int64)
        check_labels(item["label"], truth, len(self.labels))
        predicted = self.predictor(image)
        prediction, probability = predicted.mask, predicted.probability
        self.effort = predicted.effort
        return [
            {
                "case": case,
                "label": name,
                "counts": overlap_counts(prediction, truth, value),
                "metrics": label_metrics(
                    prediction,
                    truth,
                    value,
                    image.spacing_mm,
                    self.surface_tolerance_mm,
                    distances=self.distances,
                    probability=None if probability is None else probability[value - 1].astype(np.float32) / 255,
                ),
            }
            for value, name in enumerate(self.labels, start=1)
        ]

    def _write(self, result: Mapping[str, Any]) -> None:
        table = io.StringIO()
        writer = csv.writer(table)
        names = list(result["rows"][0]["metrics"])
        writer.writerow(["case", "label", *names])
        for row in result["rows"]:
            writer.writerow([row["case"], row["label"], *row["metrics"].values()])
        for label, mean in result["mean"].items():
            writer.writerow(["mean", label, *(mean.get(name) for name in names)])
        texts = {"metrics.csv": table.getvalue(), "metrics.json": json.dumps(result, indent=2) + "\n"}
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                part = self.output_dir / f"{name}.part"
                part.write_text(text)
                part.replace(self.output_dir / name)
        except OSError as error:
            raise ConfigError(f"{self.output_dir}: can't be written ({error.strerror}); choose another") from error
        self.destination.publish(texts)


def case_names(images: Sequence[str | Path]) -> list[str]:
    """The images' file names without endings; those that several share, with their folders' names before them."""
    paths = [Path(image) for image in images]
    names = [path.name if path.is_dir() else path.name.removesuffix(".gz").rsplit(".", 1)[0] for path in paths]
    longer = [f"{path.parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
    return [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
