"""The verb `evaluate`: a bundle's masks against the truth, on the grid of the source, case by case."""

import csv
import dataclasses
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from radseg.pipelines.bundle_loader import find_bundle, load_workflow, run_workflow
from radseg.pipelines.confidence import Calibration
from radseg.pipelines.console import tracked
from radseg.pipelines.datalist import check_labels
from radseg.pipelines.engine import Effort, Predictor
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import Volume, load_mask, mask_on_image
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.item_files import refuse_unreadable
from radseg.pipelines.measure.volumes import LabelVolumes
from radseg.pipelines.metrics import label_metrics, mean_metrics, overlap_counts, pooled
from radseg.pipelines.provenance import Provenance
from radseg.pipelines.report.atomic import write_whole
from radseg.pipelines.report.plots.bland_altman import Sizes, bland_altman
from radseg.pipelines.report.plots.look import Form
from radseg.pipelines.report.plots.sizes import pairs_of
from radseg.pipelines.report.results import AMOUNTS
from radseg.pipelines.trained_with import warn_of_other_settings

_logger = logging.getLogger("radseg.evaluate")

_PLOTS: Mapping[str, Form] = {"bland_altman.png": "png", "bland_altman.pdf": "pdf"}

CONVENTION = (
    "overlap of two empty masks is 1, of one empty mask 0; distances need both masks, "
    "are left out of the mean otherwise and counted as undefined"
)


def evaluate(bundle: str | Path, *, trust_config: bool = False, **overrides: Any) -> "Scores":
    """Scores a bundle on one split of a datalist as its evaluate.json says.

    Args:
        bundle: name or folder.
        trust_config: allow a bundle folder that isn't radseg's own.
        **overrides: config keys and values, such as `dataset_dir`, `split`, `weights`, `output_dir`.

    With `calibrate=True` a temperature is fitted on the validation split first and written to `temperature.json`; the
    split that is scored then has its calibration error before and after it.

    Returns:
        What is also written to `metrics.json`, and where.

    Raises:
        RadsegError: the config, the weights or the data can't be used.
    """
    workflow = load_workflow(bundle, "evaluate", overrides, trust_config)
    warn_of_other_settings(workflow, find_bundle(bundle, trust_config))
    result: Scores = run_workflow(workflow)
    return result


class Scores(dict[str, Any]):
    """What `metrics.json` holds.

    Attributes:
        place: the folder that it was written to, or its URL.
    """

    def __init__(self, content: Mapping[str, Any], place: str) -> None:
        super().__init__(content)
        self.place = place


class Evaluator:
    """Predicts each item and writes `metrics.csv` (a row per case and label) and `metrics.json` (means).

    Sizes of truth and prediction (ml; of radiographs mm² or the share of the image) go to `metrics.json` with their
    agreement, and of three cases or more into the plot `bland_altman.png` and `.pdf`.

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
        plots: draw the plot.
        calibration: counts how far probabilities are right, which is "calibration" in `metrics.json`.
        calibrate_on: items on which it fits a temperature first, written to `temperature.json`.
        seed: of the voxels that are drawn for that.

    Raises:
        InputError: an item has no label.
        ConfigError: there are items to fit a temperature on and nothing that does it, or the predictor has one already.
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
        plots: bool = True,
        calibration: Calibration | None = None,
        calibrate_on: Sequence[Mapping[str, Any]] | None = None,
        seed: int = 0,
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
        self.plots = plots
        self.provenance = Provenance.of(bundle_root, weights, [predictor.recipe, truth, self.labels], overrides)
        self.effort: Effort | None = None
        self.calibration = calibration
        self.calibrate_on = None if calibrate_on is None else list(calibrate_on)
        self.seed = seed
        if not all("label" in item for item in [*self.items, *(self.calibrate_on or ())]):
            raise InputError("an item of the datalist has no label to evaluate against; add it or choose another split")
        if self.calibrate_on is not None and calibration is None:
            raise ConfigError("there are cases to calibrate on, but the config has no calibration: name one")
        if self.calibrate_on is not None and predictor.restore is not None and predictor.restore.temperature != 1:
            raise ConfigError("calibrating fits a temperature itself: leave out either --calibrate or --temperature")

    def run(self) -> Scores:
        """Evaluates all items and returns what it wrote to `metrics.json`.

        The headers of all files are looked at first, so that one which can't be read doesn't stop it at the end.

        Raises:
            InputError: an image or label can't be used, or a store can't be reached.
            ConfigError: the output folder can't be written.
        """
        self.destination.check_writable()
        refuse_unreadable([*(self.calibrate_on or ()), *self.items])
        fitted = self._fit()
        named = list(zip(self.items, case_names([item["image"] for item in self.items]), strict=True))
        rows = [row for item, case in tracked(named, "evaluating", self.progress) for row in self._rows(item, case)]
        by_label = {}
        for name in self.labels:
            mine = [row for row in rows if row["label"] == name]
            pooled_dice = pooled(row["counts"] for row in mine).dice
            by_label[name] = {**mean_metrics([row["metrics"] for row in mine]), "pooled_dice": pooled_dice}
        sizes = compared_sizes(rows, self.labels)
        result = {
            **dataclasses.asdict(self.provenance),
            "cases": len(self.items),
            "simulated": any(item.get("simulated", False) for item in self.items),
            "convention": CONVENTION,
            "engine": None if self.effort is None else dataclasses.asdict(self.effort),
            "surface_tolerance_mm": self.surface_tolerance_mm,
            "calibration": self._calibrated(fitted),
            "mean": by_label,
            "agreement": {one.title: _agreement(one) for one in sizes},
            "rows": [
                {
                    "case": row["case"],
                    "label": row["label"],
                    "metrics": dataclasses.asdict(row["metrics"]),
                    "truth": row["truth"],
                    "prediction": row["prediction"],
                }
                for row in rows
            ],
        }
        self._write(result, sizes if self.plots else [], fitted)
        _logger.info("%d cases evaluated: %s", len(self.items), f"{self.destination}/metrics.json")
        return Scores(result, str(self.destination))

    def _fit(self) -> dict[str, Any] | None:
        """Fits a temperature if there are cases for it: what `temperature.json` holds."""
        if self.calibration is None or self.calibrate_on is None:
            return None
        cases = [partial(self._loaded, item) for item in self.calibrate_on]
        fit = self.calibration.fitted_on(self.predictor, cases, self.seed, self.progress)
        simulated = any(item.get("simulated", False) for item in self.calibrate_on)
        return {
            **dataclasses.asdict(fit),
            "cases": len(cases),
            "simulated": simulated,
            **dataclasses.asdict(self.provenance),
        }

    def _calibrated(self, fitted: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if self.calibration is None:
            return None
        same = fitted is not None and any(item in (self.calibrate_on or ()) for item in self.items)
        return {**self.calibration.result(), "fit": fitted, "fitted_on_these_cases": same}

    def _loaded(self, item: Mapping[str, Any]) -> tuple[Volume, Volume]:
        """Image and label map of an item, its labels checked."""
        image, label = self.predictor.loader.load_image(item["image"]), load_mask(item["label"])
        label = mask_on_image(Path(item["image"]), image, Path(item["label"]), label)
        check_labels(item["label"], self._truth(label), len(self.labels))
        return image, label

    def _truth(self, label: Volume) -> npt.NDArray[np.int64]:
        return np.asarray(self.truth(torch.from_numpy(label.array)[None])[0]).astype(np.int64)

    def _rows(self, item: Mapping[str, Any], case: str) -> list[dict[str, Any]]:
        image, label = self._loaded(item)
        truth = self._truth(label)
        watch = None if self.calibration is None else self.calibration.watch(label)
        predicted = self.predictor(image, observer=watch)
        if self.calibration is not None and watch is not None:
            self.calibration.count(watch)
        prediction, probability = predicted.mask, predicted.probability
        self.effort = predicted.effort
        of_label = LabelVolumes(self.labels)
        masks = {"truth": truth.astype(np.uint8), "prediction": prediction}
        known = {which: of_label(mask, image, case)["labels"] for which, mask in masks.items()}
        return [
            {
                "case": case,
                "label": name,
                **{which: _amounts(labels[name]) for which, labels in known.items()},
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

    def _write(self, result: Mapping[str, Any], sizes: Sequence[Sizes], fitted: Mapping[str, Any] | None) -> None:
        table = io.StringIO()
        writer = csv.writer(table)
        names = list(result["rows"][0]["metrics"])
        writer.writerow(["case", "label", *names])
        for row in result["rows"]:
            writer.writerow([row["case"], row["label"], *row["metrics"].values()])
        for label, mean in result["mean"].items():
            writer.writerow(["mean", label, *(mean.get(name) for name in names)])
        texts = {"metrics.csv": table.getvalue(), "metrics.json": json.dumps(result, indent=2) + "\n"}
        if fitted is not None:
            texts["temperature.json"] = json.dumps(fitted, indent=2) + "\n"
        drawn = {name: bland_altman(sizes, form) for name, form in _PLOTS.items()}
        files = {name: text.encode() for name, text in texts.items()}
        files |= {name: content for name, content in drawn.items() if content is not None}
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            for name in _PLOTS.keys() - files:  # of an earlier evaluation
                (self.output_dir / name).unlink(missing_ok=True)
            for name, content in files.items():
                write_whole(self.output_dir / name, content)
        except OSError as error:
            raise ConfigError(f"{self.output_dir}: can't be written ({error.strerror}); choose another") from error
        self.destination.publish(files)


def compared_sizes(rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[Sizes]:
    """Sizes of truth and prediction of each label, as the Bland–Altman plot takes them; none of unknown size.

    Args:
        rows: with "label", "truth" and "prediction", as in `metrics.json`.
        labels: names.
    """
    found = (
        (name, pairs_of((row["truth"], row["prediction"]) for row in rows if row["label"] == name)) for name in labels
    )
    return [Sizes(name, one.unit, {"cases": one.pairs}, one.left_out) for name, one in found if one is not None]


def _agreement(sizes: Sizes) -> dict[str, Any] | None:
    """Bias and limits with their unit, None of too few cases."""
    found = sizes.agreement
    return None if found is None else {"unit": sizes.unit, "left_out": sizes.note, **dataclasses.asdict(found)}


def _amounts(statistics: Mapping[str, Any]) -> dict[str, float]:
    return {name: statistics[name] for name in AMOUNTS if name in statistics}


def case_names(images: Sequence[str | Path]) -> list[str]:
    """The images' file names without endings; those that several share, with their folders' names before them."""
    paths = [Path(image) for image in images]
    names = [path.name if path.is_dir() else path.name.removesuffix(".gz").rsplit(".", 1)[0] for path in paths]
    longer = [f"{path.parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
    return [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
