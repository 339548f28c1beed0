"""From logits on a network's grid to labels on the source image's, in the memory of a few planes."""

import copy
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, allow_missing_keys_mode
from monai.utils import TraceKeys, ensure_tuple_rep

from radseg.pipelines.engine.combine import Activation, Measure, differing, entropy, mean_probability, uncertainty
from radseg.pipelines.engine.grid_path import grid_path
from radseg.pipelines.engine.slab import Slab
from radseg.pipelines.engine.slabs_to_source import Output, SlabsToSource, Task, as_bytes, label_type, labels_of
from radseg.pipelines.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Restoration:
    """A network's answer on the grid of the image that it was asked about.

    Attributes:
        pred: labels (1, i, j, k), uint8, or uint16 where there are more than 256 classes; or probabilities
            (classes, i, j, k) float32. With the source's affine and no applied operations.
        uncertainty: (i, j, k) uint8, from 0, certain, to 255, as uncertain as can be; None where one member answered.
        probability: of each label, (labels, i, j, k) uint8, 255 for 1; None unless it was asked for beside labels, or
            `pred` is probabilities and there is a temperature, which theirs aren't divided by.
        differing: (i, j, k) uint8, 1 where members by themselves give different labels; None where one answered.
        entropy: (i, j, k) uint8 as `uncertainty`, of one member, to be read where there is a label; None unless it was
            asked for.
    """

    pred: MetaTensor
    uncertainty: torch.Tensor | None
    probability: torch.Tensor | None = None
    differing: torch.Tensor | None = None
    entropy: torch.Tensor | None = None


class Restore:
    """Turns slabs of logits to labels on the source's grid: what softmax, `Invertd` and argmax do together.

    Probabilities, not logits, are interpolated, class by class with a running argmax, and each slab is let go when
    its part of the mask is made. So memory doesn't grow with the number of classes times the size of the source.
    That works where preprocessing went along the image's axes (see `grid_path`). Where it didn't, all probabilities
    are gathered on the network's grid and inverted one class at a time by the transform itself.

    Args:
        activation: "softmax" (class 0 is background) or "sigmoid".
        threshold: of "sigmoid", the least probability of what is labelled 1.
        output: "label", or "probability" of each class.
        uncertainty: of several members, "entropy" of what they say together, or their "disagreement".
        transform: the preprocessing, with which ways back are gone that `grid_path` can't read; None where it can.
        key: the name by which that transform knows the image.
        probability: keep the probability of each label beside the labels: a byte a voxel and label, and the time to
            bring it back everywhere. It doesn't change the labels.
        temperature: logits are divided by it for all that says how sure an answer is: uncertainty, entropy and
            probabilities kept beside labels. Labels are made without it, so that they stay what they are: a voxel's
            likeliest class is the same at any temperature, the mean of several voxels or members needn't be.
        entropy: of one member, keep the entropy of its answer where there is a label: a byte a voxel, and the time that
            one more class takes in the boxes where labels are made.

    Raises:
        ConfigError: an argument is none of these, or the temperature isn't above 0.
    """

    def __init__(
        self,
        activation: Activation,
        threshold: float = 0.5,
        output: Output = "label",
        uncertainty: Measure = "entropy",
        transform: InvertibleTransform | None = None,
        key: Hashable = "image",
        probability: bool = False,
        temperature: float = 1.0,
        entropy: bool = False,
    ) -> None:
        for name, value, known in (
            ("activation", activation, ("softmax", "sigmoid")),
            ("output", output, ("label", "probability")),
            ("uncertainty", uncertainty, ("entropy", "disagreement")),
        ):
            if value not in known:
                raise ConfigError(f"{name} {value!r} isn't known; use {' or '.join(known)}")
        if not (math.isfinite(temperature) and temperature > 0):
            raise ConfigError(f"temperature {temperature} can't be; give a number above 0, such as 1.5")
        self.activation: Activation = activation
        self.threshold = threshold
        self.output: Output = output
        self.uncertainty: Measure = uncertainty
        self.transform = transform
        self.key = key
        self.temperature = temperature
        # no part of what a mask looks like, so none of the recipe's fingerprint
        self._probability = probability
        self._entropy = entropy

    @torch.no_grad()
    def __call__(self, slabs: Iterable[Slab], image: MetaTensor, members: int = 1) -> Restoration:
        """Bring logits back.

        Args:
            slabs: of the network's grid, in order; channels are those of one member after the other. On any device:
                they are interpolated there. Each is let go before the next is asked for.
            image: the preprocessed image (C, *spatial), whose applied operations say the way back.
            members: how many networks or flips answered.

        Raises:
            ConfigError: the channels don't go with `members` and the activation, or there is no way back.
            ValueError: the slabs don't cover the image's grid.
        """
        task = Task(
            self.activation, self.threshold, self.output, self.uncertainty, members, self._probability,
            self.temperature, self._entropy,
        )  # fmt: skip
        checked = _checked(slabs, task, tuple(image.shape[1:]))
        path = grid_path(image)
        if path is None:
            return self._invert(checked, image, task)
        work: SlabsToSource | None = None
        for slab in checked:
            work = work or SlabsToSource(path, task, slab)
            work.add(slab)
            del slab
        assert work is not None
        labels = work.pred if self.output == "probability" else work.pred[None]
        beside = (work.uncertainty, work.probability, work.differing, work.entropy)
        kept = (None if one is None else torch.from_numpy(one) for one in beside)
        return Restoration(_placed(torch.from_numpy(labels), path.affine, image.meta), *kept)

    def _invert(self, slabs: Iterator[Slab], image: MetaTensor, task: Task) -> Restoration:
        if self.transform is None:
            applied = ", ".join(dict.fromkeys(str(o.get(TraceKeys.CLASS_NAME)) for o in image.applied_operations))
            raise ConfigError(f"the way back through {applied} isn't known; give the preprocessing as transform")
        gathered: list[torch.Tensor] = []
        calibrated: list[torch.Tensor] = []
        unsure: list[torch.Tensor] = []
        apart: list[torch.Tensor] = []
        axis = 0
        for slab in slabs:
            mean = sure = mean_probability(slab.logits, task.members, task.activation, slab.covered)
            if task.temperature != 1:
                sure = mean_probability(slab.logits, task.members, task.activation, slab.covered, task.temperature)
            if task.members > 1:
                each = uncertainty(
                    slab.logits, sure, task.members, task.activation, task.measure, slab.covered, task.temperature
                )
                unsure.append(each.cpu())
                each = differing(slab.logits, task.members, task.activation, task.threshold, slab.covered)
                apart.append(each.float().cpu())
            elif task.keeps_entropy:
                unsure.append(entropy(sure, task.activation).cpu())
            gathered.append(mean.cpu())
            if task.keeps_probability:
                calibrated.append(sure[-labels_of(task, len(sure)) :].cpu())
            axis = slab.axis
            del slab
        probability = torch.cat(gathered, axis + 1)
        gathered.clear()
        classes = len(probability)
        source: MetaTensor | None = None
        best: torch.Tensor | None = None
        label: torch.Tensor | None = None
        each_class: list[torch.Tensor] = []
        for c in range(classes):
            source = self._inverse(probability[c], image)
            value = source.as_tensor().to(torch.float32)
            if task.output == "probability":
                each_class.append(value)
            elif task.activation == "sigmoid":
                label = (value >= task.threshold).to(torch.uint8)
            elif best is None or label is None:
                best, label = value, torch.zeros(value.shape, dtype=torch.int32)
            else:
                label.masked_fill_(value > best, c)
                best = torch.maximum(best, value, out=best)
        assert source is not None
        if task.output == "probability":
            pred = torch.cat(each_class)
        else:
            assert label is not None
            pred = torch.from_numpy(np.asfortranarray(label[0].numpy().astype(label_type(classes))))[None]
        placed = _placed(pred, source.affine, source.meta)

        def back(values: torch.Tensor) -> torch.Tensor:
            inverse: torch.Tensor = self._inverse(values, image).as_tensor()
            return inverse.to(torch.float32, copy=True)

        kept = torch.cat([as_bytes(back(one)) for one in torch.cat(calibrated, axis + 1)]) if calibrated else None
        doubt = as_bytes(back(torch.cat(unsure, axis))[0]) if unsure else None
        if task.members == 1:
            return Restoration(placed, None, kept, None, doubt)
        return Restoration(placed, doubt, kept, (back(torch.cat(apart, axis))[0] >= 0.5).to(torch.uint8))

    def _inverse(self, values: torch.Tensor, image: MetaTensor) -> MetaTensor:
        """Values (*spatial) of the network's grid as (1, i, j, k) of the source's, by the transform itself."""
        transform = self.transform
        assert transform is not None
        there = MetaTensor(values[None], meta=copy.deepcopy(image.meta))
        there.applied_operations = copy.deepcopy(image.applied_operations)
        steps = transform.flatten().transforms if hasattr(transform, "flatten") else [transform]
        back: MetaTensor
        if any(isinstance(step, MapTransform) for step in steps):
            with allow_missing_keys_mode(transform):
                back = transform.inverse({self.key: there})[self.key]
        else:
            back = transform.inverse(there)
        return back


class Restored(MapTransform):
    """Dictionary form of `Restore` for any bundle: logits (classes, *spatial) become labels on the source's grid.

    It takes the place of Activationsd, Invertd and AsDiscreted. Logits can be on any device; labels are on the CPU.

    Args:
        keys: the entries that hold logits.
        activation: as for `Restore`.
        transform: the preprocessing, as Invertd takes it; needed for operations that `grid_path` can't read.
        orig_keys: for each key, the image that its network was given, as Invertd takes it.
        threshold: as for `Restore`.
        output: as for `Restore`.
        allow_missing_keys: leave out keys that a dictionary doesn't have.
    """

    def __init__(
        self,
        keys: KeysCollection,
        activation: Activation,
        transform: InvertibleTransform | None = None,
        orig_keys: KeysCollection = "image",
        threshold: float = 0.5,
        output: Output = "label",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.orig_keys = ensure_tuple_rep(orig_keys, len(self.keys))
        self.restores = tuple(
            Restore(activation, threshold, output, transform=transform, key=orig_key) for orig_key in self.orig_keys
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the dictionary with the logits at ``keys`` replaced by labels or probabilities.

        Raises:
            ConfigError: as for `Restore`.
            TypeError: the image is no ``MetaTensor``, so nothing says where it was.
        """
        out = dict(data)
        for key, orig_key, restore in self.key_iterator(out, self.orig_keys, self.restores):
            image, logits = out[orig_key], out[key]
            if not isinstance(image, MetaTensor):
                raise TypeError(f"{orig_key} must be a MetaTensor: a plain tensor doesn't say the way back")
            plain = logits.as_tensor() if isinstance(logits, MetaTensor) else logits
            # the source's slowest axis in memory, if axes keep their order: planes are then written one after another
            axis = plain.ndim - 2
            out[key] = restore([Slab(axis, 0, plain.shape[axis + 1], plain.detach())], image).pred
        return out


def _checked(slabs: Iterable[Slab], task: Task, shape: tuple[int, ...]) -> Iterator[Slab]:
    """The slabs, if they are what the task is about and cover a grid of that shape.

    Raises:
        ConfigError: the channels can't be split among members, or aren't enough or too many for the activation.
        ValueError: the slabs don't follow each other or are of another grid.
    """
    stop, axis = 0, None
    for slab in slabs:
        channels, *spatial = slab.logits.shape
        classes, left = divmod(channels, task.members)
        if left:
            raise ConfigError(f"{channels} channels can't be those of {task.members} members")
        if task.activation == "softmax" and classes < 2:
            raise ConfigError("softmax needs two classes or more; use sigmoid for one")
        if task.activation == "sigmoid" and task.output == "label" and classes > 1:
            raise ConfigError(f"{classes} classes that may overlap make no labels; use softmax, or output probability")
        expected = list(shape)
        expected[slab.axis] = slab.stop - slab.start
        if slab.start != stop or spatial != expected or axis not in (None, slab.axis):
            raise ValueError(f"slab of voxels {slab.start}–{slab.stop} of axis {slab.axis} isn't the next of {shape}")
        stop, axis = slab.stop, slab.axis
        yield slab
        del slab
    if axis is None or stop != shape[axis]:
        raise ValueError(f"slabs end at voxel {stop} of {shape[axis or 0]}")


def _placed(values: torch.Tensor, affine: torch.Tensor, meta: Mapping[str, Any]) -> MetaTensor:
    others = {key: copy.deepcopy(value) for key, value in meta.items() if key != "affine"}
    return MetaTensor(values, affine=affine, meta=others)
