"""Where the windows lie on a grid, and in which order they are run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.int64]
Needed = Callable[[Boxes], npt.NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """The windows to run on one grid, in order of their start along the slab axis.

    Attributes:
        shape: spatial shape of the grid.
        window: size of a window along each axis; where it is more than the grid's, the window reaches over both ends.
        slab_axis: axis along which the answer is finished slab by slab.
        bounds: where slabs begin along that axis, and the end of the last.
        windows: (run, axes, 2) start and stop of each window, clipped to the grid; only those that are run.
        total: how many windows cover the whole grid.
        overlap: whether any two of them share voxels.
    """

    shape: tuple[int, ...]
    window: tuple[int, ...]
    slab_axis: int
    bounds: tuple[int, ...]
    windows: Boxes
    total: int
    overlap: bool

    @property
    def run(self) -> int:
        """How many windows are run."""
        return len(self.windows)

    @property
    def inside(self) -> tuple[slice, ...]:
        """The part of a window that lies on the grid; the rest is padding, half of it at either end as MONAI pads."""
        pads = [max(window - size, 0) // 2 for window, size in zip(self.window, self.shape, strict=True)]
        return tuple(
            slice(pad, pad + min(window, size)) for pad, window, size in zip(pads, self.window, self.shape, strict=True)
        )


def plan_windows(
    shape: Sequence[int],
    window: Sequence[int],
    overlap: Sequence[float],
    slab_axis: int | None,
    thinnest: int | None,
    needed: Needed | None,
) -> WindowPlan:
    """The windows of MONAI's `sliding_window_inference` on a grid of `shape`.

    Args:
        shape: spatial shape of the grid.
        window: size of a window along each axis, in voxels, all positive.
        overlap: share of a window that the next one covers again, 0 … < 1 along each axis.
        slab_axis: axis along which slabs follow each other; None takes the one that is longest in windows.
        thinnest: least thickness of a slab in voxels; None is a quarter of a window, so that handing slabs over never
            costs more than holding them.
        needed: tells of boxes (n, axes, 2) which hold what is looked for; None runs all. It is asked about the core of
            each window, the voxels that lie nearest to its middle: they weigh most there, and the cores of all windows
            fill the grid, so no voxel of what is looked for is left out.
    """
    shape, window = tuple(map(int, shape)), tuple(map(int, window))
    starts = [_starts(*axis) for axis in zip(shape, window, overlap, strict=True)]
    if slab_axis is None:
        slab_axis = max(range(len(shape)), key=lambda axis: (len(starts[axis]), shape[axis] / window[axis]))
    order = [slab_axis, *(axis for axis in range(len(shape)) if axis != slab_axis)]
    grid = np.stack(np.meshgrid(*(starts[axis] for axis in order), indexing="ij"), -1).reshape(-1, len(shape))
    corner = grid[:, np.argsort(order)].astype(np.int64)
    boxes = np.stack([corner, np.minimum(corner + window, shape)], -1)
    total = len(boxes)
    if needed is not None:
        cores = [_cores(first, size, length) for first, size, length in zip(starts, window, shape, strict=True)]
        ends = np.stack(np.meshgrid(*(np.arange(len(cores[axis])) for axis in order), indexing="ij"), -1)
        which = ends.reshape(-1, len(shape))[:, np.argsort(order)]
        asked = np.stack([cores[axis][which[:, axis]] for axis in range(len(shape))], 1)
        boxes = boxes[np.asarray(needed(asked), dtype=bool)]
    return WindowPlan(
        shape=shape,
        window=window,
        slab_axis=slab_axis,
        bounds=_bounds(starts[slab_axis], shape[slab_axis], thinnest or max(window[slab_axis] // 4, 1)),
        windows=boxes,
        total=total,
        overlap=any(min(np.diff(first), default=size) < size for first, size in zip(starts, window, strict=True)),
    )


def slices_of(box: Sequence[Sequence[int]]) -> tuple[slice, ...]:
    """The box, one start and stop for each axis, as it is written between brackets."""
    return tuple(slice(start, stop) for start, stop in box)


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis: evenly apart, but the last, which ends with the grid."""
    interval = max(int(window * (1 - overlap)), 1)
    count = max(-(-(size - window) // interval), 0) + 1
    return [max(min(index * interval, size - window), 0) for index in range(count)]


def _cores(starts: Sequence[int], window: int, size: int) -> Boxes:
    """(windows, 2) start and stop of the voxels that lie nearer to the middle of a window than to any other's."""
    first = np.array(starts, dtype=np.int64)
    between = (first[:-1] + first[1:] + window) // 2
    return np.stack([np.concatenate([[0], between]), np.concatenate([between, [size]])], -1)


def _bounds(starts: Sequence[int], size: int, thinnest: int) -> tuple[int, ...]:
    bounds = [0]
    for start in starts:
        if start - bounds[-1] >= thinnest:
            bounds.append(start)
    return (*bounds, size)
