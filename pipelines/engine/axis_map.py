"""One axis of a regrid as a matrix: which voxels of the network's grid make a voxel of the source's, and how much."""

import numpy as np
import numpy.typing as npt
import torch

# tiles of this many rows keep a band matrix's zeros out of the product; larger and smaller ones measured slower
_TILE = 64


class AxisMap:
    """Values along one axis of the source grid as weighted sums of those along an axis of the network's.

    Whatever the interpolation, it is a matrix (linear, nearest, area, widened for shrinking), nearly all zeros: a
    source voxel has neighbouring network voxels as its corners and no others. That gives the exact reach of each.

    Args:
        size: voxels on the network's grid.
        weights: (voxels on the source grid, size), float32; None where the axis stays as it is.
    """

    def __init__(self, size: int, weights: torch.Tensor | None = None) -> None:
        if weights is not None and (weights.shape[1] != size or not bool((weights != 0).any(1).all())):
            raise ValueError(f"weights of shape {tuple(weights.shape)} don't make every voxel out of {size}")
        self.size = size
        self.weights = weights
        self.source_size = size if weights is None else int(weights.shape[0])
        if weights is None:
            self.first: npt.NDArray[np.int64] = np.arange(size)
            self.last = self.first + 1
        else:
            used = (weights != 0).numpy()
            first = used.argmax(1)
            last = size - used[:, ::-1].argmax(1)
            # never falling, so that a range of voxels always has a range of corners, also where a weight is zero
            self.first = np.minimum.accumulate(first[::-1])[::-1]
            self.last = np.maximum.accumulate(last)
        self.convex = weights is None or bool((weights >= 0).all())
        self._corners_on: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    @classmethod
    def identity(cls, size: int) -> "AxisMap":
        """The map of an axis that stays as it is."""
        return cls(size)

    def then(self, weights: torch.Tensor) -> "AxisMap":
        """This map and another regrid after it, (voxels then, voxels now)."""
        return AxisMap(self.size, weights if self.weights is None else weights @ self.weights)

    def corners(self, start: int, stop: int) -> tuple[int, int]:
        """Network voxels that make the source voxels [start, stop)."""
        return int(self.first[start]), int(self.last[stop - 1])

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        """Source voxels that one of the network voxels [start, stop) may have a part in."""
        return int(np.searchsorted(self.last, start, "right")), int(np.searchsorted(self.first, stop, "left"))

    def finished(self, stop: int) -> int:
        """How many source voxels, from the first, need no network voxel from `stop` on."""
        return int(np.searchsorted(self.last, stop, "right"))

    def rows(self, planes: torch.Tensor, offset: int, start: int, stop: int) -> torch.Tensor:
        """Source voxels [start, stop) along axis 1 of planes (n, h, w) that begin at network voxel `offset` of it."""
        if self.weights is None:
            return planes[:, start - offset : stop - offset]
        out = planes.new_empty(planes.shape[0], stop - start, planes.shape[2])
        for begin in range(start, stop, _TILE):
            end = min(begin + _TILE, stop)
            low, high = self.corners(begin, end)
            for made, plane in zip(
                out[:, begin - start : end - start], planes[:, low - offset : high - offset], strict=True
            ):
                torch.mm(self.weights[begin:end, low:high], plane, out=made)
        return out

    def columns(self, planes: torch.Tensor, offset: int, start: int, stop: int) -> torch.Tensor:
        """The same along axis 2."""
        if self.weights is None:
            return planes[:, :, start - offset : stop - offset]
        lines = planes.flatten(0, 1)
        out = planes.new_empty(lines.shape[0], stop - start)
        for begin in range(start, stop, _TILE):
            end = min(begin + _TILE, stop)
            low, high = self.corners(begin, end)
            band = self.weights[begin:end, low:high].T
            torch.mm(lines[:, low - offset : high - offset], band, out=out[:, begin - start : end - start])
        return out.reshape(*planes.shape[:2], -1)

    def along(self, axis: int, values: torch.Tensor, offset: int, start: int, stop: int) -> torch.Tensor:
        """The same along any axis and on any device, corner by corner: no product that a GPU may round to TF32."""
        if self.weights is None:
            return values.narrow(axis, start - offset, stop - start)
        index, weights = self._corner_by_corner(values.device)
        shape = [-1 if a == axis else 1 for a in range(values.ndim)]
        out: torch.Tensor | None = None
        for corner in range(index.shape[0]):
            corners = values.index_select(axis, index[corner, start:stop] - offset)
            part = corners.mul_(weights[corner, start:stop].reshape(shape))
            out = part if out is None else out.add_(part)
        assert out is not None
        return out

    def _corner_by_corner(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Index and weight of each corner, both (corners, source voxels)."""
        if device in self._corners_on:
            return self._corners_on[device]
        assert self.weights is not None
        most = int((self.last - self.first).max())
        # past its last corner a voxel has its last one again, with no weight
        index = torch.from_numpy(np.minimum(self.first + np.arange(most)[:, None], self.last - 1))
        weights = self.weights.T.gather(0, index)
        weights[torch.from_numpy(np.arange(most)[:, None] >= self.last - self.first)] = 0
        self._corners_on[device] = index.to(device), weights.to(device)
        return self._corners_on[device]
