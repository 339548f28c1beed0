"""Scoring methods: how near labels come to the final ones, and how unsure a model is of what has no label yet."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from monailabel.interfaces.tasks.scoring import ScoringMethod

from radseg.pipelines.errors import RadsegError
from radseg.pipelines.io import load_mask
from radseg.pipelines.label_server.models.serving import Serving
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.store.datastore import FINAL, LabelStore
from radseg.pipelines.label_server.tasks.strategies import find_out, known, model_of
from radseg.pipelines.metrics import overlap_counts

_logger = logging.getLogger("radseg.label_server")


class Dice(ScoringMethod):
    """Dice of each label between final labels and others: those of a tag, or what a model gives now.

    The request's `y` is the tag that counts as truth (final), `y_pred` the tag that is compared with it (original); a
    `model` in its place is compared as it serves. Two empty masks have Dice 1, one empty mask 0.

    Args:
        serving: gives the versions.
    """

    def __init__(self, serving: Serving) -> None:
        super().__init__("Dice of submitted labels with predicted ones")
        self.serving = serving

    def __call__(self, request: dict[str, Any], datastore: LabelStore) -> dict[str, Any]:
        """Mean Dice by label and that of each image; kept with each image's final label.

        Raises:
            Refused: no such model, or no label to compare.
        """
        truth, other = str(request.get("y") or FINAL), str(request.get("y_pred") or "original")
        model = model_of(request, self.serving) if request.get("model") else None
        against = other if model is None else f"{model} version {self.serving.versions.serving(model).number}"
        images: dict[str, dict[str, float]] = {}
        unreadable: list[str] = []
        for image in datastore.list_images():
            if not datastore.get_label_by_image_id(image, truth):
                continue
            if model is None and not datastore.get_label_by_image_id(image, other):
                continue
            try:
                wanted = load_mask(Path(datastore.get_label_uri(image, truth))).array
                found = self._found(datastore, image, other, model)
                if model is not None and self.serving.models[model].any_label:
                    wanted = (wanted > 0).astype(wanted.dtype)
                images[image] = _dice(found, wanted)
            except Refused:
                raise
            except (RadsegError, ValueError):
                unreadable.append(image)
                continue
            datastore.update_label_info(image, truth, {"dice": {"against": against, **images[image]}})
        if not images:
            raise Refused(
                409, f"no image has both a label {truth!r} and one of {against}; submit or predict some first"
            )
        labels = sorted({label for scores in images.values() for label in scores})
        mean = {label: _mean([scores[label] for scores in images.values() if label in scores]) for label in labels}
        _logger.info("Dice of %d images against %s: %s", len(images), against, mean)
        return {"against": against, "mean": mean, "images": images, "unreadable": unreadable}

    def _found(self, datastore: LabelStore, image: str, tag: str, model: str | None) -> npt.NDArray[Any]:
        if model is None:
            return load_mask(Path(datastore.get_label_uri(image, tag))).array
        return self.serving.predict(model, datastore.source(image)).prediction.mask


class Uncertain(ScoringMethod):
    """How unsure the serving version is of each image without a final label, for the strategy `uncertainty`.

    Args:
        serving: gives the versions.
    """

    def __init__(self, serving: Serving) -> None:
        super().__init__("How unsure the model is of images without a label")
        self.serving = serving

    def __call__(self, request: dict[str, Any], datastore: LabelStore) -> dict[str, Any]:
        """Uncertainty of each image, 0 to 1; kept with the image.

        Raises:
            Refused: no such model, or none with weights.
        """
        model = model_of(request, self.serving)
        images = datastore.get_unlabeled_images()
        scores = known(datastore, images, self.serving, model)
        missing = [image for image in images if image not in scores]
        scores |= find_out(datastore, missing, self.serving, model)
        _logger.info("uncertainty of %d images by %s", len(scores), model)
        return {"model": model, "images": scores}


def _dice(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> dict[str, float]:
    """Dice of each label that either mask has, or of label 1 when neither has any, by its number."""
    ours, truth = found.astype(np.int64), wanted.astype(np.int64)
    present = sorted({*np.unique(ours).tolist(), *np.unique(truth).tolist()} - {0}) or [1]
    return {str(label): round(overlap_counts(ours, truth, label).dice, 4) for label in present}


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)
