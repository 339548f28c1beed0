"""A part of the patient on a coarse grid, and whether a box of any other grid reaches into it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_TOUCH = 0.02  # voxels: what only touches counts as reaching in, and a float32 affine is as good as a float64 one
_CHUNK = 1 << 16  # voxels turned at a time, so that turning takes little memory

Boxes = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Region:
    """Where to look: the coarse voxels that hold what is looked for, each as a box of its own size.

    Attributes:
        mask: bool, shape (i, j, k).
        affine_ras: 4×4, index of a voxel's centre → RAS in mm.
    """

    mask: npt.NDArray[np.bool_]
    affine_ras: npt.NDArray[np.float64]

    def needed(self, affine_ras_of_grid: npt.ArrayLike) -> Callable[[Boxes], npt.NDArray[np.bool_]]:
        """Says which boxes of a grid reach into the region, without ever missing one.

        Exact (to a touch) when the grid's axes are parallel to the region's, in any order and direction; of oblique
        grids, a box up to about a region voxel away is needed too.

        Args:
            affine_ras_of_grid: 4×4, voxel index → RAS in mm.

        Returns:
            Takes boxes (n, 3, 2), start and stop voxel along each axis, and gives bool (n,).
        """
        affine = np.asarray(affine_ras_of_grid, dtype=np.float64)
        along = self._along(affine)
        from_grid = np.linalg.inv(along.affine_ras) @ affine
        order = np.abs(from_grid[:3, :3]).argmax(axis=1)  # the grid's axis that runs along each of the region's
        step, shift = from_grid[np.arange(3), order], from_grid[:3, 3]
        counted = along._counted()
        limit = np.array(counted.shape) - 1

        def needed(boxes: Boxes) -> npt.NDArray[np.bool_]:
            edges = np.asarray(boxes, dtype=np.float64)[:, order] - 0.5
            ends = np.sort(edges * step[:, None] + shift[:, None] + 0.5, axis=2)
            first = np.clip(np.floor(ends[..., 0] - _TOUCH), 0, limit).astype(np.intp)
            after = np.clip(np.floor(ends[..., 1] + _TOUCH) + 1, 0, limit).astype(np.intp)
            held = np.zeros(len(edges), dtype=np.int64)
            for corner in np.ndindex(2, 2, 2):
                at = tuple(np.where(corner, after, first).T)
                held += (-1) ** (3 - sum(corner)) * counted[at].astype(np.int64)
            empty = (after <= first).any(axis=1) | (edges[..., 1] <= edges[..., 0]).any(axis=1)
            return np.asarray((held > 0) & ~empty)

        return needed

    def box(
        self, affine_ras_of_grid: npt.ArrayLike, shape: tuple[int, int, int]
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """The smallest box of a grid that holds all of the region inside it.

        Args:
            affine_ras_of_grid: 4×4, voxel index → RAS in mm.
            shape: of the grid.

        Returns:
            Start and stop voxel along each axis; (0, 0) on all three when the region doesn't reach into the grid.
        """
        nowhere = ((0, 0), (0, 0), (0, 0))
        affine = np.asarray(affine_ras_of_grid, dtype=np.float64)
        along = self._along(affine)
        held = ndimage.find_objects(along.mask.view(np.uint8))
        if not held or held[0] is None:
            return nowhere
        corners = np.array(
            [[side.start - 0.5 if low else side.stop - 0.5 for side, low in zip(held[0], lows, strict=True)]
             for lows in np.ndindex(2, 2, 2)]
        )  # fmt: skip
        to_grid = np.linalg.inv(affine) @ along.affine_ras
        placed = corners @ to_grid[:3, :3].T + to_grid[:3, 3] + 0.5
        start = np.clip(np.floor(placed.min(axis=0) - _TOUCH), 0, shape).astype(int).tolist()
        stop = np.clip(np.ceil(placed.max(axis=0) + _TOUCH), 0, shape).astype(int).tolist()
        if any(end <= begin for begin, end in zip(start, stop, strict=True)):
            return nowhere
        return (start[0], stop[0]), (start[1], stop[1]), (start[2], stop[2])

    def grown(self, mm: float) -> "Region":
        """The region with everything within `mm` of it, as far as its own grid reaches."""
        # rows of the inverse: voxels per mm across the planes of each axis, true of sheared (tilted) grids too
        per_mm = np.linalg.norm(np.linalg.inv(self.affine_ras[:3, :3]), axis=1)
        mask = self.mask
        for axis, voxels in enumerate(np.ceil(mm * per_mm - _TOUCH).astype(int).tolist()):
            mask = widened(mask, axis, voxels)
        return Region(mask, self.affine_ras)

    def _along(self, affine: npt.NDArray[np.float64]) -> "Region":
        """The region on axes parallel to those of a grid: itself, or a slightly larger one on a turned grid."""
        to_grid = np.linalg.inv(affine) @ self.affine_ras
        sizes = np.abs(to_grid[:3, :3])
        shape = np.array(self.mask.shape)
        # how far, in voxels of the region, each of its axes runs along each axis of the grid
        runs = np.abs(np.linalg.inv(to_grid)[:3, :3]) * (sizes @ shape)
        if (np.sort(runs, axis=1)[:, :2] < _TOUCH / 4).all():
            return self
        cell = sizes.sum(axis=1) * (1 + 1e-6)  # no smaller than a turned voxel, so that one lies in at most 2³ cells
        ends = np.array(list(np.ndindex(2, 2, 2))) * shape - 0.5
        placed = ends @ to_grid[:3, :3].T + to_grid[:3, 3]
        origin = placed.min(axis=0) - cell / 2
        turned = np.zeros(tuple(np.ceil((placed.max(axis=0) - origin) / cell).astype(int) + 2), dtype=bool)
        (flat,) = np.nonzero(self.mask.ravel())
        for begin in range(0, len(flat), _CHUNK):
            index = np.stack(np.unravel_index(flat[begin : begin + _CHUNK], self.mask.shape), axis=1)
            center = (index @ to_grid[:3, :3].T + to_grid[:3, 3] - origin) / cell
            low, high = (np.floor(center + side).astype(np.intp) for side in (-0.5, 0.5))
            for corner in np.ndindex(2, 2, 2):
                turned[tuple(np.where(corner, high, low).T)] = True
        cells_to_grid = np.eye(4)
        cells_to_grid[:3, :3] = np.diag(cell)
        cells_to_grid[:3, 3] = origin + cell / 2
        return Region(turned, affine @ cells_to_grid)

    def _counted(self) -> npt.NDArray[np.int32]:
        """How many voxels of the region lie before each corner of its grid (integral image)."""
        counted = np.zeros(tuple(length + 1 for length in self.mask.shape), dtype=np.int32)
        inner = counted[1:, 1:, 1:]
        np.cumsum(self.mask, axis=0, dtype=np.int32, out=inner)
        np.cumsum(inner, axis=1, out=inner)
        np.cumsum(inner, axis=2, out=inner)
        return counted


@dataclass(frozen=True)
class Found:
    """What a finder says of a volume.

    Attributes:
        region: where to look, or None when the finder isn't sure: then all of the volume is to be looked at.
        note: what was found, or why the finder isn't sure, in a few words.
    """

    region: Region | None
    note: str


def widened(mask: npt.NDArray[np.bool_], axis: int, voxels: int) -> npt.NDArray[np.bool_]:
    """The mask dilated by some voxels to both sides along one axis."""
    if voxels < 1:
        return mask
    return np.asarray(ndimage.maximum_filter1d(mask.view(np.uint8), 2 * voxels + 1, axis=axis, mode="constant"), bool)
