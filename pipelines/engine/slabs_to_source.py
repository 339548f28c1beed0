"""Brings slabs of logits to the source's grid as they come, a plane of the source at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from radseg.pipelines.engine.combine import Activation, Measure, differing, entropy, mean_probability, uncertainty
from radseg.pipelines.engine.grid_path import GridPath
from radseg.pipelines.engine.planes import EMPTY, Planes, Rectangle, rectangles_of
from radseg.pipelines.engine.slab import Slab

Output = Literal["label", "probability"]

# planes of the network's grid taken at a time: on a CPU few, so that they stay in its caches
_PLANES = {"cpu": 8, "cuda": 64}
# voxels of the source made at a time, in whole planes: small boxes go several together, so that each call has enough
# to do; on a CPU one large plane is more than its caches hold
_VOXELS = {"cpu": 2**17, "cuda": 2**23}
_MOST_ROWS = 16


@dataclass(frozen=True)
class Task:
    """What is made of logits; see `Restore`."""

    activation: Activation
    threshold: float
    output: Output
    measure: Measure
    members: int
    probability: bool = False
    temperature: float = 1.0
    entropy: bool = False

    @property
    def keeps_probability(self) -> bool:
        """Whether probabilities are wanted beside labels, or calibrated ones beside those that labels are made of."""
        return self.probability if self.output == "label" else self.temperature != 1

    @property
    def keeps_entropy(self) -> bool:
        """Whether the entropy of one member's labels is wanted; that of several is their uncertainty."""
        return self.entropy and self.output == "label" and self.members == 1


class SlabsToSource:
    """Takes slabs in their order and fills arrays on the source's grid.

    Of what came before, only the planes of logits are kept that the next plane of the source needs too. Labels are
    interpolated in a box a class only: weights of interpolation aren't negative, so a class whose probability is below
    the background's at all corners of a voxel is below it in the voxel.

    Args:
        path: the way from the network's grid to the source's.
        task: what is made of the logits.
        first: the first slab, for its axis, device and number of channels; it isn't taken yet.

    Attributes:
        pred: labels (i, j, k), the first axis fastest in memory as NIfTI has it, or probabilities (classes, i, j, k).
        uncertainty: (i, j, k) uint8, in the same order of memory; None when there is one member.
        differing: (i, j, k) uint8, 1 where members differ in the label; None when there is one member.
        entropy: (i, j, k) uint8, right where there is a label, 0 or right elsewhere; None unless the task asks for it.
        probability: of each label, (labels, i, j, k) uint8, 255 for 1; None unless the task asks for it.
    """

    def __init__(self, path: GridPath, task: Task, first: Slab) -> None:
        self._task = task
        self._classes = first.logits.shape[0] // task.members
        shape = path.source_shape
        self.pred: npt.NDArray[Any]
        if task.output == "probability":
            self.pred = np.zeros((self._classes, *shape), np.float32)
        else:
            # pages that stay background are never written, so they take no memory
            self.pred = np.zeros(shape, label_type(self._classes), order="F")
        self.uncertainty = np.zeros(shape, np.uint8, order="F") if task.members > 1 else None
        self.differing = np.zeros(shape, np.uint8, order="F") if task.members > 1 else None
        self.entropy = np.zeros(shape, np.uint8, order="F") if task.keeps_entropy else None
        self.probability: npt.NDArray[np.uint8] | None = None
        if task.keeps_probability:
            labels = labels_of(task, self._classes)
            self.probability = np.zeros((*shape, labels), np.uint8, order="F").transpose(3, 0, 1, 2)

        strides = path.as_network_sees(self.pred).strides[-3:]
        # the last axis of a plane is the one whose source voxels are neighbours in memory
        slow, fast = sorted({0, 1, 2} - {first.axis}, key=lambda axis: -abs(strides[axis]))
        self._path, self._order = path, (first.axis, slow, fast)
        self._along, self._slow, self._fast = (path.axes[axis] for axis in self._order)
        self._whole = Rectangle(0, self._slow.size, 0, self._fast.size)
        self._convex = all(axis.convex for axis in path.axes)

        kind = first.logits.device.type
        widest = int((self._along.last - self._along.first).max())
        self._planes, self._voxels = max(_PLANES.get(kind, 8), 2 * widest), _VOXELS.get(kind, 2**17)
        self._came, self._done = 0, 0  # planes of the network's and of the source's grid
        self._kept: Planes | None = None
        self._candidates: dict[int, Rectangle] = {}  # by plane of the network's grid

    def add(self, slab: Slab) -> None:
        """Take the next slab."""
        logits = slab.logits.permute(0, *(axis + 1 for axis in self._order))
        covered = None if slab.covered is None else slab.covered.permute(self._order)
        planes = Planes(slab.start, logits, covered)
        # interpolation in bfloat16 would move borders
        with _one_thread(), torch.autocast(logits.device.type, enabled=False):
            if self._boxed:
                candidates = self._candidates_in(slab).permute(self._order).contiguous()
                self._candidates |= dict(enumerate(rectangles_of(candidates), slab.start))
            for start in range(slab.start, slab.stop, self._planes):
                self._take(planes.between(start, start + self._planes))

    def _take(self, new: Planes) -> None:
        if self._kept is not None:  # a network that ran out of a GPU's memory goes on on the CPU
            self._kept = self._kept.on(new.logits.device)
        self._came = new.stop
        parts = [new] if self._kept is None else [self._kept, new]
        begin, self._done = self._done, self._along.finished(self._came)
        if self._done > begin:
            self._bring(parts, begin, self._done)
        if self._done < self._along.source_size:
            needed = min(self._along.corners(self._done, self._done + 1)[0], self._came)
            # a copy, so that the slab itself can go
            self._kept = Planes.joined(parts, needed, self._came, self._whole)
            self._candidates = {plane: box for plane, box in self._candidates.items() if plane >= needed}

    @property
    def _boxed(self) -> bool:
        """Whether probabilities are made in a box only; uncertainty and probability are of interest everywhere."""
        return self._convex and self._task.output == "label" and self._task.members == 1 and self.probability is None

    def _candidates_in(self, slab: Slab) -> torch.Tensor:
        """Which voxels of a slab may be anything but background, by logits alone: bool, in the slab's own order."""
        logits, sigmoid = slab.logits, self._task.activation == "sigmoid"
        found = torch.empty(logits.shape[1:], dtype=torch.bool, device=logits.device)
        step = max(1, self._voxels // 2 // max(1, logits[0, 0].numel()))  # what is compared stays in a CPU's cache
        for start in range(0, len(found), step):
            background, *others = logits[:, start : start + step]
            if sigmoid:
                torch.ge(torch.sigmoid(background), self._task.threshold, out=found[start : start + step])
                continue
            best = others[0].clone() if len(others) > 1 else others[0]
            for other in others[1:]:
                torch.maximum(best, other, out=best)
            torch.ge(best, background, out=found[start : start + step])
        # where sigmoid's threshold is 0, what no window covered is labelled too
        if slab.covered is not None and not (sigmoid and self._task.threshold <= 0):
            found &= slab.covered
        return found

    def _bring(self, parts: list[Planes], begin: int, end: int) -> None:
        """Make the source's planes [begin, end) out of the network's."""
        task, box = self._task, self._whole
        everywhere = limit = self._reach(self._whole)
        low, high = self._along.corners(begin, end)
        if self._boxed:
            reached = self._reach(Rectangle.around(self._candidates[plane] for plane in range(low, high)))
            if reached.empty:
                return
            box, limit = self._corners(reached), reached
        planes = Planes.joined(parts, low, high, box)
        logits, covered = planes.logits, planes.covered
        # labels are always made of what the network itself says: calibration changes how sure they are, and no label
        probability = calibrated = mean_probability(logits, task.members, task.activation, covered)
        if task.temperature != 1:
            calibrated = mean_probability(logits, task.members, task.activation, covered, task.temperature)
        if self.uncertainty is not None and self.differing is not None:
            unsure = uncertainty(
                logits, calibrated, task.members, task.activation, task.measure, covered, task.temperature
            )
            self._bring_bytes(self.uncertainty, unsure, low, begin, end)
            apart = differing(logits, task.members, task.activation, task.threshold, covered)
            for rows in self._few(begin, end, everywhere):
                values = self._at_source(apart.float(), low, box, rows, everywhere) >= 0.5
                if values.any():
                    self._write(self.differing, values, rows, everywhere)
        if self.probability is not None:
            for kept, values in zip(self.probability, calibrated[-len(self.probability) :], strict=True):
                self._bring_bytes(kept, values, low, begin, end)
        if task.output == "label":
            doubt = entropy(calibrated, task.activation) if self.entropy is not None else None
            self._bring_labels(probability, doubt, low, box, limit, begin, end)
            return
        for c in range(self._classes):
            for rows in self._few(begin, end, everywhere):
                self._write(self.pred[c], self._at_source(probability[c], low, box, rows, everywhere), rows, everywhere)

    def _bring_bytes(self, kept: npt.NDArray[np.uint8], values: torch.Tensor, low: int, begin: int, end: int) -> None:
        """Values 0…1 (planes from `low` on, whole planes of the network's grid) to the source's planes, as bytes."""
        everywhere = self._reach(self._whole)
        for rows in self._few(begin, end, everywhere):
            bytes_ = as_bytes(self._at_source(values, low, self._whole, rows, everywhere))
            if bytes_.any():  # pages that stay 0 take no memory
                self._write(kept, bytes_, rows, everywhere)

    def _bring_labels(
        self,
        probability: torch.Tensor,
        doubt: torch.Tensor | None,
        low: int,
        box: Rectangle,
        limit: Rectangle,
        begin: int,
        end: int,
    ) -> None:
        # a tie of probabilities needn't be one of logits: no class reaches further than logits did
        boxes = self._boxes_by_class(probability, box)
        reached = {c: self._reach(each).within(limit) for c, each in enumerate(boxes)}
        reached = {c: each for c, each in reached.items() if not each.empty}
        if not reached:
            return
        around = Rectangle.around(reached.values())
        for rows in self._few(begin, end, around):
            if self.entropy is not None and doubt is not None:
                self._write(self.entropy, as_bytes(self._at_source(doubt, low, box, rows, around)), rows, around)
            if self._task.activation == "sigmoid":
                label = self._at_source(probability[0], low, box, rows, around) >= self._task.threshold
                self._write(self.pred, label, rows, around)
                continue
            best = self._at_source(probability[0], low, box, rows, around)
            label = torch.zeros(best.shape, dtype=_PLANE_LABELS[self.pred.dtype.name], device=best.device)
            for c, each in reached.items():
                value = self._at_source(probability[c], low, box, rows, each)
                best_here, label_here = each.of(best, around), each.of(label, around)
                label_here.masked_fill_(value > best_here, c)  # not where equal: the lower class has it, as in argmax
                torch.maximum(best_here, value, out=best_here)
            self._write(self.pred, label, rows, around)

    def _boxes_by_class(self, probability: torch.Tensor, box: Rectangle) -> list[Rectangle]:
        """For each class, the box of the network's grid outside which it can't be the label; empty for background."""
        if self._task.activation == "sigmoid":
            candidate = probability >= self._task.threshold
        else:
            candidate = probability >= probability[:1]
            candidate[0] = False
        if not self._convex:
            candidate[1 if self._task.activation == "softmax" else 0 :] = True
        return [each.moved(box) for each in rectangles_of(candidate.view(torch.uint8).amax(1))]

    def _reach(self, box: Rectangle) -> Rectangle:
        """The box of the source's plane that voxels of a box of the network's have a part in."""
        if box.empty:
            return EMPTY
        return Rectangle(*self._slow.reach(box.top, box.bottom), *self._fast.reach(box.left, box.right))

    def _corners(self, box: Rectangle) -> Rectangle:
        """The box of the network's plane that a box of the source's is made of."""
        return Rectangle(*self._slow.corners(box.top, box.bottom), *self._fast.corners(box.left, box.right))

    def _at_source(
        self, values: torch.Tensor, low: int, box: Rectangle, rows: range, wanted: Rectangle
    ) -> torch.Tensor:
        """Interpolate values (planes from `low` on, box of the network's plane) to (rows, box of the source's)."""
        corners = self._corners(wanted)
        planes = self._along.along(0, corners.of(values, box), low, rows.start, rows.stop)
        vertical = (corners.top, wanted.top, wanted.bottom)
        horizontal = (corners.left, wanted.left, wanted.right)
        if planes.device.type == "cpu":
            planes = self._slow.rows(self._fast.columns(planes, *horizontal), *vertical)
        else:
            planes = self._slow.along(1, self._fast.along(2, planes, *horizontal), *vertical)
        # what stays as it is would still be the probabilities themselves, and results are written to
        same = all(axis.weights is None for axis in self._path.axes)
        return planes.clone() if same else planes

    def _few(self, begin: int, end: int, box: Rectangle) -> Iterator[range]:
        """The source's planes [begin, end) as many at a time as are made together."""
        voxels = (box.bottom - box.top) * (box.right - box.left)
        step = max(1, min(_MOST_ROWS, self._voxels // voxels))
        return (range(start, min(start + step, end)) for start in range(begin, end, step))

    def _write(self, source: npt.NDArray[Any], values: torch.Tensor, rows: range, box: Rectangle) -> None:
        planes = self._path.as_network_sees(source).transpose(self._order)
        planes[rows.start : rows.stop, box.top : box.bottom, box.left : box.right] = values.numpy(force=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small products: threads that wait for each other's core made them 4 to 8 times slower on two busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def labels_of(task: Task, classes: int) -> int:
    """How many of the classes are labels: all but softmax's background."""
    return classes - 1 if task.activation == "softmax" else classes


def as_bytes(probability: torch.Tensor) -> torch.Tensor:
    """Probabilities as uint8, 255 for 1; they are changed in place."""
    return probability.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def label_type(classes: int) -> npt.DTypeLike:
    """The smallest type of NIfTI that holds labels of so many classes."""
    return np.uint8 if classes <= 256 else np.uint16


_PLANE_LABELS = {"uint8": torch.uint8, "uint16": torch.int32}
