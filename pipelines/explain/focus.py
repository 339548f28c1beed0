"""Which part of a case is explained: the windows of the network around the largest piece of a label."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers import Inferer
from scipy import ndimage

from radseg.pipelines.engine import WindowInferer
from radseg.pipelines.engine.crop import Box
from radseg.pipelines.engine.window_plan import slices_of

_MOST_VOXELS = 160**3
"""Of a window whose features are kept for gradients; larger ones, of networks that take whole images, are cut."""


@dataclass(frozen=True, eq=False)
class Focus:
    """What is explained of a network's grid.

    Attributes:
        box: start and stop along each axis, around all windows.
        windows: start and stop of each; one, or the slices of a 2D network.
        size: of a window as the network gets it; where that is more than the grid has, zeros lie around it.
        slice_axis: along which a 2D network's windows are one voxel thick; None of a 3D network.
    """

    box: Box
    windows: tuple[Box, ...]
    size: tuple[int, ...]
    slice_axis: int | None

    def cut(self, grid: torch.Tensor, window: Box) -> torch.Tensor:
        """A window of (*, *grid) as the network gets it, (*, *size) without the slice axis, as the engine pads it."""
        ahead = grid.ndim - len(window)
        padded = grid.new_zeros((*grid.shape[:ahead], *self.size))
        kept = (slice(None),) * ahead
        padded[kept + self._inside(window)] = grid[kept + slices_of(window)]
        return padded if self.slice_axis is None else padded.squeeze(ahead + self.slice_axis)

    def uncut(self, values: torch.Tensor, window: Box) -> torch.Tensor:
        """Values of a window, (*size) without the slice axis, at the voxels of the grid that it covers."""
        whole = values if self.slice_axis is None else values.unsqueeze(self.slice_axis)
        return whole[self._inside(window)]

    def in_box(self, window: Box) -> tuple[slice, ...]:
        """Where a window lies in the box."""
        return tuple(
            slice(start - first, stop - first) for (start, stop), (first, _) in zip(window, self.box, strict=True)
        )

    def _inside(self, window: Box) -> tuple[slice, ...]:
        ahead = [(size - (stop - start)) // 2 for size, (start, stop) in zip(self.size, window, strict=True)]
        return tuple(
            slice(pad, pad + stop - start) for pad, (start, stop) in zip(ahead, window, strict=True)
        )  # fmt: skip


def focus_on(region: npt.NDArray[np.bool_], inferer: Inferer, seen: Box | None) -> Focus:
    """The windows around the largest connected piece of a region: of a 2D network all slices that it reaches.

    Args:
        region: on the network's grid, not empty.
        inferer: says how large windows are; of an inferer of MONAI its `roi_size` and `spatial_dim` do.
        seen: the box of the grid that the network was run on; the whole grid if the region reaches out of it.
    """
    whole = tuple((0, size) for size in region.shape)
    if seen is None or np.count_nonzero(region) > np.count_nonzero(region[slices_of(seen)]):
        seen = whole
    pieces, count = ndimage.label(region, np.ones((3,) * region.ndim))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    piece = pieces == 1 + int(np.argmax(sizes[1:]))
    windows = _like_engine(inferer)
    axis = windows.slice_axis
    shape = [stop - start for start, stop in seen]
    size = _bounded(windows.plan(shape).window, axis)
    middle = ndimage.center_of_mass(piece)
    box = [_around(*one) for one in zip(middle, size, seen, strict=True)]
    if axis is None:
        return Focus(tuple(box), (tuple(box),), size, None)
    others = tuple(other for other in range(region.ndim) if other != axis)
    in_plane = [slice(None) if other == axis else slice(*box[other]) for other in range(region.ndim)]
    reached = np.flatnonzero(piece[tuple(in_plane)].any(axis=others))
    each = []
    for position in reached.tolist():
        window = list(box)
        window[axis] = (position, position + 1)
        each.append(tuple(window))
    box[axis] = (int(reached[0]), int(reached[-1]) + 1)
    return Focus(tuple(box), tuple(each), size, axis)


def _like_engine(inferer: Inferer) -> WindowInferer:
    if isinstance(inferer, WindowInferer):
        return inferer
    return WindowInferer(getattr(inferer, "roi_size", None), slice_axis=getattr(inferer, "spatial_dim", None))


def _bounded(size: Sequence[int], slice_axis: int | None) -> tuple[int, ...]:
    if math.prod(size) <= _MOST_VOXELS:
        return tuple(size)
    axes = len(size) - (slice_axis is not None)
    side = round(_MOST_VOXELS ** (1 / axes)) // 32 * 32
    return tuple(min(length, side) for length in size)


def _around(middle: float, size: int, ends: tuple[int, int]) -> tuple[int, int]:
    """So many voxels around a place, inside the ends."""
    first, stop = ends
    size = min(size, stop - first)
    start = min(max(round(middle - (size - 1) / 2), first), stop - size)
    return start, start + size
