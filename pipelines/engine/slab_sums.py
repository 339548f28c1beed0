"""Adds windows up into the slabs that aren't finished yet, and hands the finished ones out."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from radseg.pipelines.engine.importance import gaussian_importance
from radseg.pipelines.engine.slab import Slab
from radseg.pipelines.engine.window_plan import Boxes, WindowPlan, slices_of


class SlabSums:
    """Weighted sums of the windows of one plan; memory for as many slabs as a window reaches into, no more.

    A slab is made when the first window reaches it and divided by its weights when it is taken. Where windows don't
    overlap, nothing is weighted.
    """

    def __init__(self, plan: WindowPlan) -> None:
        self._plan = plan
        self._slabs = list(pairwise(plan.bounds))
        self._firsts = plan.windows[:, plan.slab_axis, 0]
        self._sums: dict[int, torch.Tensor] = {}
        self._taken = 0
        self._like: torch.Tensor | None = None
        self._classes = 0
        self._row: tuple[bytes, torch.Tensor] | None = None

    def reserve(self, boxes: Boxes, logits: torch.Tensor) -> None:
        """Makes or moves all that adding these windows needs; whatever runs out of memory does so here."""
        self._like, self._classes = logits.new_empty(0), logits.shape[1]
        rows = np.unique(boxes[:, self._plan.slab_axis], axis=0).tolist()
        for index in sorted({index for row in rows for index in self._reached(*row)}):
            held = self._sums.get(index)
            self._sums[index] = self._empty(self._slabs[index]) if held is None else held.to(logits.device)
        if self._plan.overlap:
            gaussian_importance(self._plan.window, logits.device)

    @torch.no_grad()
    def add(self, boxes: Boxes, logits: torch.Tensor) -> None:
        """Adds windows, logits (windows, classes, *window) float32, for which place was reserved."""
        axis, inside = self._plan.slab_axis, self._plan.inside
        weights = gaussian_importance(self._plan.window, logits.device)[inside] if self._plan.overlap else None
        for box, window in zip(boxes.tolist(), logits[:, :, *inside], strict=True):
            for index in self._reached(*box[axis]):
                to_slab, to_window = _shared(box, axis, *self._slabs[index])
                target, source = self._sums[index][:, *to_slab], window[:, *to_window]
                if weights is None:
                    target.copy_(source)
                else:
                    target.addcmul_(source, weights[to_window])

    def take(self, until: int) -> Iterator[Slab]:
        """The slabs that end at or before voxel `until` of the slab axis, each of them once."""
        while self._taken < len(self._slabs) and self._slabs[self._taken][1] <= until:
            self._taken += 1
            yield self._finish(self._taken - 1)

    @torch.no_grad()
    def _finish(self, index: int) -> Slab:
        start, stop = self._slabs[index]
        total = self._sums.pop(index, None)
        thickness = min(self._plan.window[self._plan.slab_axis], self._plan.shape[self._plan.slab_axis])
        first, last = np.searchsorted(self._firsts, [start - thickness, stop - 1], side="right")
        boxes = self._plan.windows[first:last]
        if total is None:
            total = self._empty((start, stop))
            covered: torch.Tensor | None = torch.zeros(total.shape[1:], dtype=torch.bool, device=total.device)
        elif self._plan.overlap:
            weights = self._weights(boxes, start, stop, total)
            covered = None if self._plan.run == self._plan.total else weights > 0
            total.div_(weights if covered is None else weights.masked_fill_(~covered, 1))
        else:
            covered = None if self._plan.run == self._plan.total else self._covered(boxes, start, stop, total)
        if covered is not None and bool(covered.all()):
            covered = None
        return Slab(self._plan.slab_axis, start, stop, total, covered)

    def _weights(self, boxes: Boxes, start: int, stop: int, total: torch.Tensor) -> torch.Tensor:
        """Sum of all weights in a slab; rows of windows mostly look alike, so one is summed and put several times."""
        axis = self._plan.slab_axis
        weights = total.new_zeros(total.shape[1:])
        for first in np.unique(boxes[:, axis, 0]):
            row = boxes[boxes[:, axis, 0] == first]
            to_slab, to_row = _shared(row[0].tolist(), axis, start, stop)
            whole = tuple(slice(None) for _ in self._plan.shape)
            weights[_along(whole, axis, to_slab[axis])] += self._row_weights(row, total)[
                _along(whole, axis, to_row[axis])
            ]
        return weights

    def _row_weights(self, row: Boxes, like: torch.Tensor) -> torch.Tensor:
        axis = self._plan.slab_axis
        placed = row - row[0, axis, 0] * (np.arange(len(self._plan.shape)) == axis)[:, None]
        key = placed.tobytes()
        if self._row is None or self._row[0] != key or self._row[1].device != like.device:
            shape = list(self._plan.shape)
            shape[axis] = int(placed[0, axis, 1])
            weights, importance = like.new_zeros(shape), gaussian_importance(self._plan.window, like.device)
            for box in placed.tolist():
                weights[slices_of(box)] += importance[self._plan.inside]
            self._row = key, weights
        return self._row[1]

    def _covered(self, boxes: Boxes, start: int, stop: int, total: torch.Tensor) -> torch.Tensor:
        covered = torch.zeros(total.shape[1:], dtype=torch.bool, device=total.device)
        for box in boxes.tolist():
            covered[_shared(box, self._plan.slab_axis, start, stop)[0]] = True
        return covered

    def _empty(self, slab: tuple[int, int]) -> torch.Tensor:
        """Zeros (classes, *spatial); where windows are slices, each slice lies in one piece in memory."""
        assert self._like is not None
        axis, thickness = self._plan.slab_axis, slab[1] - slab[0]
        before, after = (self._classes, *self._plan.shape[:axis]), self._plan.shape[axis + 1 :]
        if self._plan.window[axis] > 1:
            return self._like.new_zeros((*before, thickness, *after))
        return self._like.new_zeros((thickness, *before, *after)).movedim(0, 1 + axis)

    def _reached(self, start: int, stop: int) -> range:
        return range(bisect_right(self._plan.bounds, start) - 1, bisect_left(self._plan.bounds, stop))


def _shared(
    box: Sequence[Sequence[int]], axis: int, start: int, stop: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels that a box and a slab share, as they are counted in the slab and in the box."""
    low, high = max(box[axis][0], start), min(box[axis][1], stop)
    in_box = tuple(slice(0, last - first) for first, last in box)
    moved = slice(low - box[axis][0], high - box[axis][0])
    return _along(slices_of(box), axis, slice(low - start, high - start)), _along(in_box, axis, moved)


def _along(slices: tuple[slice, ...], axis: int, along: slice) -> tuple[slice, ...]:
    return (*slices[:axis], along, *slices[axis + 1 :])
