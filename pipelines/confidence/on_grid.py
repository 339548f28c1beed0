"""Looks on while a case with known truth is predicted, on the network's grid, where a temperature acts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor

from radseg.pipelines.confidence.reliability import Reliability
from radseg.pipelines.engine.combine import Activation, mean_probability
from radseg.pipelines.engine.locate.region import widened
from radseg.pipelines.engine.slab import Slab
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume

MARGIN_VOXELS = 3
_LEVELS = 65535  # of a stored confidence: two bytes a voxel, exact to 1e-5
_MOST_DRAWN = 1 << 20  # voxels of a case whose logits are held until its end


class _Watch:
    """An `Observer` that knows the truth.

    Args:
        truth: label map, on the grid of the image.
        activation: the network's; "sigmoid" of one class.
        threshold: of "sigmoid".
    """

    def __init__(self, truth: Volume, activation: Activation, threshold: float) -> None:
        self._label = truth
        self.activation: Activation = activation
        self.threshold = threshold
        self.members = 1

    def entries(self) -> Mapping[str, MetaTensor]:
        """The truth, which preprocessing takes to the network's grid."""
        return {"label": self._label.to_tensor()}

    def begin(self, data: Mapping[str, Any], members: int) -> None:
        """Takes the truth on the network's grid.

        Raises:
            InputError: preprocessing left it elsewhere.
        """
        label, image = data["label"], data["image"]
        if label.shape[1:] != image.shape[1:]:
            shapes = f"{tuple(label.shape[1:])}, the image's {tuple(image.shape[1:])}"
            raise InputError(f"preprocessing leaves the label's grid at {shapes}; give it the key 'label' too")
        self.members = members
        self.truth = label[0].as_tensor().to(torch.uint8)
        self.predicted = torch.zeros_like(self.truth)

    def _labels(self, slab: Slab) -> torch.Tensor:
        """Labels of a slab as the network gives them, without a temperature and before postprocessing."""
        mean = mean_probability(slab.logits, self.members, self.activation, slab.covered)
        labels = mean.argmax(0) if self.activation == "softmax" else mean[0] >= self.threshold
        return labels.to(torch.uint8)

    def _near(self) -> npt.NDArray[np.bool_]:
        """Voxels of truth and prediction and all around them, `MARGIN_VOXELS` along each axis."""
        near: npt.NDArray[np.bool_] = ((self.truth > 0) | (self.predicted > 0)).numpy()
        for axis in range(near.ndim):
            near = widened(near, axis, MARGIN_VOXELS)
        return near


class ReliabilityWatch(_Watch):
    """Counts how right a case's labels are at every confidence, at one temperature or several.

    Holds two bytes and, for each temperature, two more a voxel of the network's grid.

    Args:
        truth, activation, threshold: as for all watches.
        temperatures: for each of which a count is made.
    """

    def __init__(self, truth: Volume, activation: Activation, threshold: float, temperatures: list[float]) -> None:
        super().__init__(truth, activation, threshold)
        self.temperatures = temperatures

    def begin(self, data: Mapping[str, Any], members: int) -> None:
        """Takes the truth on the network's grid; raises as `_Watch` does."""
        super().begin(data, members)
        self._confidences = [np.zeros(tuple(self.truth.shape), np.uint16) for _ in self.temperatures]

    def see(self, slab: Slab) -> None:
        """Takes the confidence in each voxel's label."""
        labels = self._labels(slab)
        self.predicted.narrow(slab.axis, slab.start, slab.stop - slab.start).copy_(labels)
        here = (slice(None),) * slab.axis + (slice(slab.start, slab.stop),)
        for temperature, kept in zip(self.temperatures, self._confidences, strict=True):
            mean = mean_probability(slab.logits, self.members, self.activation, slab.covered, temperature)
            if self.activation == "softmax":
                confidence = mean.gather(0, labels[None].long())[0]
            else:
                confidence = torch.where(labels > 0, mean[0], 1 - mean[0])
            kept[here] = confidence.mul_(_LEVELS).round_().clamp_(0, _LEVELS).numpy(force=True)

    def count(self, everywhere: list[Reliability], nearby: list[Reliability]) -> None:
        """Adds the case to the counts of all voxels and of those near truth or prediction, one a temperature."""
        right, near = (self.predicted == self.truth).numpy(), self._near()
        for kept, all_voxels, near_voxels in zip(self._confidences, everywhere, nearby, strict=True):
            for plane, plane_right, plane_near in zip(kept, right, near, strict=True):
                confidence = plane / np.float32(_LEVELS)
                all_voxels.add(confidence, plane_right)
                near_voxels.add(confidence[plane_near], plane_right[plane_near])


class SampleWatch(_Watch):
    """Draws voxels near truth or prediction, with their logits, the same ones whatever the slabs are.

    Args:
        truth, activation, threshold: as for all watches.
        most: voxels drawn at most.
        seed: of the draw.
    """

    def __init__(self, truth: Volume, activation: Activation, threshold: float, most: int, seed: int) -> None:
        super().__init__(truth, activation, threshold)
        self.most = most
        self._random = torch.Generator().manual_seed(seed)

    def begin(self, data: Mapping[str, Any], members: int) -> None:
        """Takes the truth and draws the voxels that may be in the sample; raises as `_Watch` does."""
        super().begin(data, members)
        share = _MOST_DRAWN / self.truth.numel()
        self._drawn = torch.empty(self.truth.shape, dtype=torch.bool)
        for plane in self._drawn:
            plane.copy_(torch.rand(plane.shape, generator=self._random) < share)
        self._logits: list[torch.Tensor] = []
        self._places: list[torch.Tensor] = []

    def see(self, slab: Slab) -> None:
        """Keeps the logits of the slab's voxels that were drawn and that any window covered."""
        thickness = slab.stop - slab.start
        self.predicted.narrow(slab.axis, slab.start, thickness).copy_(self._labels(slab))
        drawn = self._drawn.narrow(slab.axis, slab.start, thickness)
        if slab.covered is not None:
            drawn = drawn & slab.covered.cpu()
        places = drawn.nonzero()
        self._logits.append(slab.logits[:, *places.to(slab.logits.device).T].T.cpu())
        places[:, slab.axis] += slab.start
        self._places.append(places)

    def sample(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (voxels, members, classes) float32, and the true label (voxels) of each."""
        places, logits = torch.cat(self._places), torch.cat(self._logits)
        near = torch.from_numpy(self._near())[*places.T]
        places, logits = places[near], logits[near]
        # in the grid's order, so that slabs along another axis or of another thickness give the same sample
        order = torch.from_numpy(np.ravel_multi_index(tuple(places.numpy().T), tuple(self.truth.shape))).argsort()
        order = order[torch.randperm(len(order), generator=self._random)[: self.most]]
        sampled = logits[order].reshape(len(order), self.members, logits.shape[1] // self.members)
        return sampled, self.truth[*places[order].T].long()
