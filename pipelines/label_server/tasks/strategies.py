"""Active learning: which image to label next, by chance or where the serving version is least sure."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from radseg.pipelines.engine import Prediction
from radseg.pipelines.errors import RadsegError
from radseg.pipelines.label_server.models.serving import Serving
from radseg.pipelines.label_server.refused import Refused

_HALF = 128
MOST_AT_ONCE = 4
"""Images that are scored while a client waits; the others wait for the scoring method, or for the next question."""


class Chance(Strategy):
    """Any image without a final label; those that were given out longest ago, or never, are likelier."""

    def __init__(self) -> None:
        super().__init__("Any image without a label")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The id of an image, None when all have labels."""
        images = datastore.get_unlabeled_images()
        if not images:
            return None
        given = [datastore.get_image_info(image).get("strategy", {}).get(request["strategy"], {}) for image in images]
        weights = [max(1, int(time.time()) - int(one.get("ts", 0))) for one in given]
        chosen = random.choices(range(len(images)), weights)[0]
        return {"id": images[chosen], "weight": weights[chosen]}


class Uncertainty(Strategy):
    """The image without a final label of which the serving version is least sure, over mirror images.

    How unsure it is of an image is kept with the image for each version. Some that aren't known yet are found out now,
    the others by the scoring method `uncertainty`.

    Args:
        serving: gives the versions; the request's `model` picks one, else it is the first that has weights.
    """

    def __init__(self, serving: Serving) -> None:
        super().__init__("The image that the model is least sure of")
        self.serving = serving

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The id of an image and its uncertainty, 0 to 1; None when all have labels.

        Raises:
            Refused: no such model, or none that has weights.
        """
        images = datastore.get_unlabeled_images()
        if not images:
            return None
        model = model_of(request, self.serving)
        scores = known(datastore, images, self.serving, model)
        missing = [image for image in images if image not in scores]
        scores |= find_out(datastore, missing[:MOST_AT_ONCE], self.serving, model)
        if not scores:
            return {"id": images[0], "weight": 0.0}
        chosen = max(scores, key=lambda image: (scores[image], image))
        return {"id": chosen, "weight": scores[chosen], "model": model, "scored": len(scores), "of": len(images)}


def model_of(request: dict[str, Any], serving: Serving) -> str:
    """The model that a request names, else the first that has weights.

    Raises:
        Refused: no such model, or none with weights.
    """
    wanted = request.get("model")
    if wanted is not None and wanted not in serving.models:
        raise Refused(404, f"no model {wanted!r} here; there are {', '.join(serving.models)}")
    candidates = [str(wanted)] if wanted is not None else list(serving.models)
    for model in candidates:
        if serving.versions.serving(model).weights is not None:
            return model
    raise Refused(409, f"{', '.join(candidates)}: no weights yet; submit labels and train, or use the strategy random")


def known(datastore: Datastore, images: Sequence[str], serving: Serving, model: str) -> dict[str, float]:
    """Uncertainty of those images for which the serving version's is known."""
    weights = serving.versions.serving(model).weights_sha256
    found = {}
    for image in images:
        kept = datastore.get_image_info(image).get("uncertainty", {}).get(model, {})
        if kept.get("weights_sha256") == weights and isinstance(kept.get("score"), int | float):
            found[image] = float(kept["score"])
    return found


def find_out(datastore: Datastore, images: Sequence[str], serving: Serving, model: str) -> dict[str, float]:
    """Uncertainty of images, kept with each; one that can't be read is left out."""
    found = {}
    for image in images:
        try:
            predicted = serving.predict(model, Path(_source(datastore, image)), tta="flips")
        except Refused:
            raise
        except (RadsegError, OSError):
            continue
        found[image] = uncertainty_of(predicted.prediction)
        earlier = datastore.get_image_info(image).get("uncertainty", {})
        kept = {"score": found[image], "weights_sha256": predicted.version.weights_sha256}
        datastore.update_image_info(image, {"uncertainty": {**earlier, model: kept}})
    return found


def uncertainty_of(prediction: Prediction) -> float:
    """How unsure a prediction of several members is as a whole, 0 to 1.

    The mean uncertainty of the voxels that have a label or are more undecided than not; 0 where there is no such voxel:
    a large surely empty surround, and the image's size, don't count.
    """
    doubt = prediction.uncertainty
    if doubt is None:
        return 0.0
    counted = doubt[(prediction.mask > 0) | (doubt >= _HALF)]
    return round(float(counted.mean(dtype=np.float64)) / 255, 4) if counted.size else 0.0


def _source(datastore: Datastore, image: str) -> Path:
    find = getattr(datastore, "source", None)
    return Path(datastore.get_image_uri(image)) if find is None else Path(find(image))
