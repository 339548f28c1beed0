"""Runs a network over a grid window by window and hands the answer on slab by slab."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type

from radseg.pipelines.engine.batch_size import BatchSize
from radseg.pipelines.engine.slab import Slab
from radseg.pipelines.engine.slab_sums import SlabSums
from radseg.pipelines.engine.window_plan import Boxes, Needed, WindowPlan, plan_windows, slices_of
from radseg.pipelines.errors import ConfigError

__all__ = ["WindowInferer", "WindowPlan"]

Progress = Callable[[int, int], None]
_THINNEST_SLICES = 8  # slabs of single slices cost more to put back than to run


class WindowInferer(Inferer):
    """Sliding windows weighted by a gaussian, whose memory grows with a slab of the grid and not with the grid.

    Without `refine` the same windows and the same logits as MONAI's `SlidingWindowInferer(mode="gaussian")` and, with
    `slice_axis`, its `SliceInferer`, in whose places it can stand. Safe to share between threads: a call changes
    nothing here. Logits carry no gradient.

    Args:
        roi_size: size of a window in voxels, one number for all axes or one for each; nothing, 0 or less takes the
            grid's size.
        sw_batch_size: how many windows the network gets at once; halved when it runs out of memory.
        overlap: share of a window that the next one covers again, 0 … < 1, one number for all axes or one for each.
        slice_axis: a 2D network on a 3D grid: each window is one voxel thick along this axis (0, 1 or 2); `roi_size`
            then has two entries.
        slab_axis: axis along which slabs are finished; None takes `slice_axis`, else the longest in windows.
        refine: makes other logits of windows and their logits, such as a `GuidedRefinement`; of a 2D network's windows
            in 2D.

    Raises:
        ConfigError: a window, overlap, batch or axis that can't be.
    """

    def __init__(
        self,
        roi_size: Sequence[int | None] | int | None,
        sw_batch_size: int = 1,
        overlap: Sequence[float] | float = 0.25,
        slice_axis: int | None = None,
        slab_axis: int | None = None,
        refine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.roi_size = roi_size
        self._sw_batch_size = sw_batch_size  # says how a mask is made, not what it looks like
        self.overlap = overlap
        self.slice_axis = slice_axis
        self.slab_axis = slice_axis if slab_axis is None else slab_axis
        self.refine = refine
        overlaps = tuple(overlap) if isinstance(overlap, Sequence) else (overlap,)
        if not all(0 <= share < 1 for share in overlaps):
            raise ConfigError(f"overlap {overlap} can't be: give shares of a window from 0 to less than 1")
        if sw_batch_size < 1:
            raise ConfigError(f"sw_batch_size {sw_batch_size} can't be: give at least 1 window at a time")
        for name, axis in (("slice_axis", slice_axis), ("slab_axis", slab_axis)):
            if axis not in (None, 0, 1, 2):
                raise ConfigError(f"{name} {axis} can't be: give 0, 1 or 2")

    @property
    def sw_batch_size(self) -> int:
        """How many windows the network gets at once."""
        return self._sw_batch_size

    def plan(self, spatial_shape: Sequence[int], needed: Needed | None = None) -> WindowPlan:
        """The windows to run on a grid.

        Args:
            spatial_shape: the grid, two or three axes.
            needed: tells of boxes (n, axes, 2), start and stop in voxels of the grid, which have to be run.

        Raises:
            ConfigError: windows or axes don't go with a grid of so many axes.
        """
        sliced = self.slice_axis is not None
        axes = len(spatial_shape)
        if (sliced and axes != 3) or (self.slab_axis or 0) >= axes:
            raise ConfigError(f"slice_axis {self.slice_axis}, slab_axis {self.slab_axis} on an image of {axes} axes")
        in_plane = [axis for axis in range(axes) if axis != self.slice_axis]
        sizes = _for_each(self.roi_size, len(in_plane), "roi_size")
        shares = _for_each(self.overlap, len(in_plane), "overlap")
        window, overlap = [1] * axes, [0.0] * axes
        for axis, size, share in zip(in_plane, sizes, shares, strict=True):
            window[axis] = size if size and size > 0 else spatial_shape[axis]
            overlap[axis] = share
        thinnest = max(self._sw_batch_size, _THINNEST_SLICES) if sliced and self.slab_axis == self.slice_axis else None
        return plan_windows(spatial_shape, window, overlap, self.slab_axis, thinnest, needed)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits (batch, classes, *spatial) float32 of inputs (batch, channels, *spatial), on the inputs' device.

        What is said of the inputs in a `MetaTensor` is said of the logits too. Other arguments go to the network.
        """
        logits: torch.Tensor | None = None
        for image, each in enumerate(_plain(inputs)):
            for slab in self._run(each, network, lambda batch: network(batch, *args, **kwargs), None, None):
                if logits is None:
                    shape = (inputs.shape[0], slab.logits.shape[0], *each.shape[1:])
                    logits = torch.empty(shape, dtype=torch.float32, device=inputs.device)
                logits[image].narrow(1 + slab.axis, slab.start, slab.stop - slab.start).copy_(slab.logits)
        if logits is None:
            raise ConfigError("an empty batch has no logits: give at least one image")
        if isinstance(inputs, MetaTensor):
            said = MetaTensor([]).copy_meta_from(inputs, copy_attr=False)
            logits = convert_to_dst_type(logits, said, dtype=logits.dtype, device=logits.device)[0]
        return logits

    def slabs(
        self,
        inputs: torch.Tensor,
        network: Any,
        plan: WindowPlan | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Slab]:
        """Logits of one image, a slab at a time, on the device that the network answers on.

        Args:
            inputs: (1, channels, *spatial) on any device; windows are cut there.
            network: maps (windows, channels, *window) to logits (windows, classes, *window). Out of memory it gets
                half as many windows at once; with one window its `fall_back_to_cpu()` is called, if it has one. Its
                list `notes`, if it has one, says how many windows fitted.
            plan: what `plan` made for this grid; None runs all windows.
            progress: called after each batch with the number of windows done and to do.

        Raises:
            ConfigError: the plan is for another grid, or the network's answer isn't logits of its windows.
        """
        if inputs.shape[0] != 1:
            raise ConfigError(f"slabs are of one image, got a batch of {inputs.shape[0]}: give them one by one")
        return self._run(_plain(inputs)[0], network, network, plan, progress)

    def _run(
        self,
        image: torch.Tensor,
        network: Any,
        call: Callable[[torch.Tensor], torch.Tensor],
        plan: WindowPlan | None,
        progress: Progress | None,
    ) -> Iterator[Slab]:
        plan = plan or self.plan(image.shape[1:])
        if plan.shape != tuple(image.shape[1:]):
            raise ConfigError(
                f"windows were planned for {plan.shape}, the image is {tuple(image.shape[1:])}: plan anew"
            )
        sums, batch = SlabSums(plan), BatchSize(self._sw_batch_size, network)
        # no window is needed: one is run all the same, for nothing but the number of classes
        windows = plan.windows if plan.run else self.plan(plan.shape).windows[:1]
        done = 0
        while done < len(windows):
            boxes = windows[done : done + batch.windows]
            try:
                logits = self._answer(_cut(image, boxes, plan), call, plan.inside)
                sums.reserve(boxes, logits)
            except RuntimeError as error:
                if not batch.can_shrink(error):
                    raise
                logits = None
            if logits is None:
                batch.shrink()
                if batch.fallen:
                    image = image.cpu()
                continue
            batch.succeeded()
            done += len(boxes)
            if plan.run:
                sums.add(boxes, logits)
                if progress is not None:
                    progress(done, plan.run)
            del logits
            yield from sums.take(int(windows[done, plan.slab_axis, 0]) if done < len(windows) else plan.bounds[-1])

    @torch.no_grad()
    def _answer(
        self, batch: torch.Tensor, call: Callable[[torch.Tensor], torch.Tensor], inside: Sequence[slice]
    ) -> torch.Tensor:
        given = batch if self.slice_axis is None else batch.squeeze(2 + self.slice_axis)
        logits = call(given)
        if not isinstance(logits, torch.Tensor):
            raise ConfigError(f"the network answers with a {type(logits).__name__}: windows need one tensor of logits")
        if logits.shape[0] != given.shape[0] or logits.shape[2:] != given.shape[2:]:
            raise ConfigError(
                f"the network answers {tuple(given.shape)} with {tuple(logits.shape)}: each voxel needs its logits"
            )
        if self.refine is not None:
            logits = self._refined(given.to(logits.device), _plain(logits), inside)
        if self.slice_axis is not None:
            logits = logits.unsqueeze(2 + self.slice_axis)
        return _plain(logits).to(torch.float32, memory_format=torch.contiguous_format)

    def _refined(self, given: torch.Tensor, logits: torch.Tensor, inside: Sequence[slice]) -> torch.Tensor:
        """The logits as `refine` makes them; what lies over the image's ends isn't shown to it and stays as it is."""
        assert self.refine is not None
        part = (slice(None), slice(None), *(one for axis, one in enumerate(inside) if axis != self.slice_axis))
        refined = self.refine(given[part], logits[part])
        if refined.shape == logits.shape:
            return refined
        whole = logits.to(refined.dtype, copy=True)
        whole[part] = refined
        return whole


def _cut(image: torch.Tensor, boxes: Boxes, plan: WindowPlan) -> torch.Tensor:
    """Windows (n, channels, *window) of an image (channels, *spatial), zeros where they reach over its ends."""
    padded = any(window > size for window, size in zip(plan.window, plan.shape, strict=True))
    make = image.new_zeros if padded else image.new_empty
    batch = make((len(boxes), image.shape[0], *plan.window))
    for window, box in zip(batch[:, :, *plan.inside], boxes.tolist(), strict=True):
        window.copy_(image[:, *slices_of(box)])
    return batch


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


def _for_each(value: Any, axes: int, name: str) -> list[Any]:
    values = list(value) if isinstance(value, Sequence) else [value] * axes
    if len(values) != axes:
        raise ConfigError(f"{name} {values} has {len(values)} entries, windows have {axes} axes: give one for each")
    return values
