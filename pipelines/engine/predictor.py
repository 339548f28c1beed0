"""The one way from an image file to its mask: read, prepare, run the network, back to the source grid."""

import copy
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import LoadCased, Volume


class _Transform(Protocol):
    def __call__(self, data: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Prediction:
    """A mask on the grid of its source.

    Attributes:
        mask: label of each voxel, uint8, shape (i, j, k) of the source.
        seconds: wall time of each stage (preprocess, network, restore).
        probability: of each label, (labels, i, j, k) 0…1, if the bundle's postprocessing leaves one.
    """

    mask: npt.NDArray[np.uint8]
    seconds: dict[str, float]
    probability: npt.NDArray[np.float32] | None = None


class Predictor:
    """Runs a bundle's network over one image; `segment`, `evaluate` and the annotation server all call this.

    Safe to share between threads: each call runs the inferer on a copy of its own (MONAI's `SliceInferer` keeps the
    state of a call in itself).

    Args:
        loader: reads images as the bundle wants them; the first of its preprocessing.
        preprocessing: dictionary transform that takes {"image"} from the source grid to the network's.
        network: maps (1, C, …) to logits (1, classes, …); put in evaluation mode here.
        inferer: MONAI inferer, such as a sliding window.
        postprocessing: dictionary transform that takes {"pred"} from logits to labels on the source grid; it may leave
            the probability of each label there as {"probability"}.
        device: where the network runs.
    """

    def __init__(
        self,
        loader: LoadCased,
        preprocessing: _Transform,
        network: torch.nn.Module,
        inferer: Inferer,
        postprocessing: _Transform,
        device: torch.device,
    ) -> None:
        self.loader = loader
        self.preprocessing = preprocessing
        self.network = network.eval()
        self.inferer = inferer
        self.postprocessing = postprocessing
        self.device = device

    @property
    def recipe(self) -> list[object]:
        """The components that decide what a mask looks like, the network's weights aside."""
        return [self.loader, self.preprocessing, type(self.network), self.inferer, self.postprocessing]

    @torch.inference_mode()
    def __call__(self, volume: Volume) -> Prediction:
        """Segments one image, read by `loader`.

        Raises:
            InputError: the mask doesn't come back at the image's shape, so the bundle's transforms can't be trusted.
        """
        clock = [time.monotonic()]
        data = self.preprocessing({"image": volume.to_tensor()})
        clock.append(time.monotonic())
        inputs = data["image"]
        logits = copy.deepcopy(self.inferer)(inputs[None].to(self.device), self.network)[0].cpu()
        data["pred"] = MetaTensor(
            torch.as_tensor(logits), meta=inputs.meta, applied_operations=inputs.applied_operations
        )
        clock.append(time.monotonic())
        finished = self.postprocessing(data)
        mask, probability = finished["pred"][0], finished.get("probability")
        clock.append(time.monotonic())
        if tuple(mask.shape) != volume.array.shape:
            raise InputError(f"mask of shape {tuple(mask.shape)}, image of {volume.array.shape}: check postprocessing")
        stages = ("preprocess", "network", "restore")
        return Prediction(
            mask=np.asarray(mask).astype(np.uint8),
            probability=None if probability is None else np.asarray(probability, dtype=np.float32),
            seconds={stage: round(end - start, 3) for stage, start, end in zip(stages, clock, clock[1:], strict=False)},
        )
