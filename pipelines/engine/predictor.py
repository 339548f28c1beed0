"""The one way from an image to its mask: prepare, run the network where it matters, back to the source grid."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from radseg.pipelines.engine.crop import Box, in_whole_grid, rounded_box
from radseg.pipelines.engine.locate import Found, Region
from radseg.pipelines.engine.prediction import Effort, Prediction, confidence
from radseg.pipelines.engine.restore import Restore
from radseg.pipelines.engine.slab import Slab
from radseg.pipelines.engine.slabs_to_source import as_bytes
from radseg.pipelines.engine.window_plan import slices_of
from radseg.pipelines.engine.windows import WindowInferer, WindowPlan
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import LoadCased, Volume


class _Transform(Protocol):
    def __call__(self, data: dict[str, Any]) -> dict[str, Any]: ...


class Observer(Protocol):
    """Looks on while an image is predicted, on the network's grid."""

    def entries(self) -> Mapping[str, MetaTensor]:
        """What goes through preprocessing beside the image, by its key there, such as {"label"}."""

    def begin(self, data: Mapping[str, Any], members: int) -> None:
        """Takes what preprocessing made of {"image"} and the entries, and how many members will answer."""

    def see(self, slab: Slab) -> None:
        """Takes the logits of the next slab, to read and neither to change nor to keep."""


@dataclass
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.since
        self.since = now

    def around(self, slabs: Iterable[Slab]) -> Iterator[Slab]:
        """Counts the making of slabs as the network's time and what their taker does as the way back's."""
        for slab in slabs:
            self.lap("network")
            yield slab
            del slab  # the next one is computed without it
            self.lap("restore")
        self.lap("network")


@dataclass(frozen=True)
class _Work:
    """The windows to run, of a box of the grid, and how many there would be in all of it."""

    box: Box
    plan: WindowPlan
    windows: int


class Predictor:
    """Runs a bundle's network over one image; `segment`, `evaluate` and the annotation server all call this.

    Safe to share between threads: a call changes none of the engine's own components, and an inferer of MONAI's runs
    on a copy (its `SliceInferer` keeps the state of a call in itself).

    Args:
        loader: reads images as the bundle wants them; the first of its preprocessing.
        preprocessing: dictionary transform that takes {"image"} from the source grid to the network's.
        network: maps (b, C, …) to logits (b, members × classes, …); put in evaluation mode here.
        inferer: the engine's `WindowInferer`, or any MONAI inferer.
        postprocessing: dictionary transform that finishes {"pred"}: labels on the source grid if there is a `restore`,
            else logits; it may leave the probability of each label (labels, i, j, k), 0…1, there as {"probability"}.
        device: where the network runs.
        restore: the engine's way from logits to the source grid; without one, postprocessing has to invert.
        finders: asked in turn where to look; the first that is sure decides which windows are run.
        crop_to: with windows as large as the grid, only the box around what was found is run, its sides made multiples
            of this many voxels in the plane of a window; None or 0 runs the grid.
    """

    def __init__(
        self,
        loader: LoadCased,
        preprocessing: _Transform,
        network: torch.nn.Module,
        inferer: Inferer,
        postprocessing: _Transform,
        device: torch.device,
        restore: Restore | None = None,
        finders: Sequence[Callable[[Volume], Found]] = (),
        crop_to: int | None = None,
    ) -> None:
        self.loader = loader
        self.preprocessing = preprocessing
        self.network = network.eval()
        self.inferer = inferer
        self.postprocessing = postprocessing
        self.device = device
        self.restore = restore
        self.finders = list(finders)
        self.crop_to = crop_to or None

    @property
    def recipe(self) -> list[object]:
        """The components that decide what a mask looks like, the network's weights aside."""
        networks = [getattr(one, "network", one) for one in getattr(self.network, "networks", [self.network])]
        made_of = [self.loader, self.preprocessing, *map(type, networks), self.inferer, self.postprocessing]
        made_of += [self.restore, *self.finders, self.crop_to]
        return [*made_of, getattr(self.network, "precision", None), getattr(self.network, "flips", None)]

    @torch.inference_mode()
    def __call__(
        self, volume: Volume, progress: Callable[[int, int], None] | None = None, observer: Observer | None = None
    ) -> Prediction:
        """Segments one image, read by `loader`.

        Args:
            volume: the image.
            progress: told how many windows are done, and of how many.
            observer: looks on; the mask is the same with one.

        Raises:
            InputError: the mask doesn't come back at the image's shape, so the bundle's transforms can't be trusted.
        """
        clock = _Clock()
        beside = {} if observer is None else observer.entries()
        data = self.preprocessing({"image": volume.to_tensor(), **beside})
        image = data["image"]
        clock.lap("preprocess")
        # whoever inverts logits can't know which of them no window covered
        found, located = (None, ()) if self.restore is None else self._find(volume)
        work = self._plan(image, found)
        if self.finders:
            clock.lap("locate")
        members = int(getattr(self.network, "members", 1))
        slabs = self._slabs(image, work, progress)
        if observer is not None:
            observer.begin(data, members)
            slabs = _observed(slabs, observer)
        restored = None if self.restore is None else self.restore(clock.around(slabs), image, members)
        if restored is not None:
            data["pred"] = restored.pred
        else:
            parts = [(slab.axis, slab.logits.cpu()) for slab in clock.around(slabs)]
            logits = torch.cat([logits for _, logits in parts], 1 + parts[0][0])
            data["pred"] = MetaTensor(logits, meta=image.meta, applied_operations=image.applied_operations)
        finished = self.postprocessing(data)
        mask = finished["pred"][0]
        probability = None if restored is None else restored.probability
        if probability is None and "probability" in finished:
            probability = as_bytes(torch.as_tensor(finished["probability"]).to(torch.float32, copy=True))
        if tuple(mask.shape) != volume.array.shape:
            raise InputError(f"mask of shape {tuple(mask.shape)}, image of {volume.array.shape}: check postprocessing")
        labels = np.asarray(mask).astype(np.uint8, copy=False)
        kept = [None] * 3 if restored is None else [restored.uncertainty, restored.differing, restored.entropy]
        doubt, differing, entropy = (None if one is None else np.asarray(one) for one in kept)
        clock.lap("restore")
        return Prediction(
            mask=labels,
            seconds={stage: round(seconds, 3) for stage, seconds in clock.seconds.items()},
            effort=self._effort(members, work, located),
            probability=None if probability is None else np.asarray(probability),
            uncertainty=doubt,
            confidence=None if doubt is None else confidence(labels, doubt),
            differing=differing,
            entropy=entropy,
            measure="entropy" if self.restore is None else self.restore.uncertainty,
            temperature=1.0 if self.restore is None else self.restore.temperature,
        )

    def _find(self, volume: Volume) -> tuple[Region | None, tuple[str, ...]]:
        """Where to look, and what the finders said."""
        said: list[str] = []
        if volume.units != "HU" or volume.is_picture or not isinstance(self.inferer, WindowInferer):
            return None, ()
        for finder in self.finders:
            found = finder(volume)
            said.append(f"{type(finder).__name__}: {found.note}")
            if found.region is not None:
                return found.region, tuple(said)
        return None, tuple(said)

    def _plan(self, image: MetaTensor, found: Region | None) -> _Work | None:
        """Which windows to run, of which box of the grid; None for an inferer that can't be told."""
        if not isinstance(self.inferer, WindowInferer):
            return None
        shape = tuple(image.shape[1:])
        box = whole = tuple((0, size) for size in shape)
        everything = self.inferer.plan(shape)
        if found is None or (everything.total == 1 and self.crop_to is None):
            return _Work(whole, everything, everything.total)
        affine = image.affine.numpy()
        needed = found.needed(affine)
        if self.crop_to is not None:
            multiples = [1 if axis == self.inferer.slice_axis else self.crop_to for axis in range(3)]
            box = rounded_box(found.box(affine, shape), shape, multiples)
            if any(first >= end for first, end in box):
                return _Work(whole, everything, everything.total)
            start = np.array([first for first, _ in box])[:, None]
            plan = self.inferer.plan([end - first for first, end in box], lambda boxes: needed(boxes + start))
        else:
            plan = self.inferer.plan(shape, needed)
        return _Work(box, plan, everything.total) if plan.run else _Work(whole, everything, everything.total)

    def _slabs(
        self, image: MetaTensor, work: _Work | None, progress: Callable[[int, int], None] | None
    ) -> Iterator[Slab]:
        inputs = image.as_tensor()[None]
        if work is None or not isinstance(self.inferer, WindowInferer):
            logits = copy.deepcopy(self.inferer)(inputs.to(self.device), self.network)[0]
            yield Slab(0, 0, logits.shape[1], torch.as_tensor(logits).float())
            return
        inside = _on(getattr(self.network, "device", None) or self.device, inputs[:, :, *slices_of(work.box)])
        slabs = self.inferer.slabs(inside, self.network, work.plan, progress=progress)
        yield from in_whole_grid(slabs, work.box, inputs.shape[2:])

    def _effort(self, members: int, work: _Work | None, located: tuple[str, ...]) -> Effort:
        return Effort(
            runtime=getattr(self.network, "runtime", "torch"),
            precision=getattr(self.network, "precision", "exact"),
            members=members,
            windows=work.windows if work else 0,
            windows_run=work.plan.run if work else 0,
            box=None if work is None else work.box,
            located=located,
            notes=tuple(getattr(self.network, "notes", ())),
        )


def _observed(slabs: Iterable[Slab], observer: Observer) -> Iterator[Slab]:
    for slab in slabs:
        observer.see(slab)
        yield slab
        del slab


def _on(device: torch.device, inputs: torch.Tensor) -> torch.Tensor:
    """The inputs on a device, or where they are when its memory doesn't hold them: windows go there one by one."""
    try:
        return inputs.to(device)
    except torch.OutOfMemoryError:
        return inputs
