"""A mask on an even grid along the patient's axes, where distances are the same in every direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.transforms.slabs import foreground_box

STEP_MM = 1.5
"""The step of the even grid: half of the thinnest disc that still counts."""

_MARGIN = 2


@dataclass(frozen=True)
class EvenGrid:
    """The foreground of a mask, cut out.

    Attributes:
        inside: the mask at each point, (x, y, z) to the patient's right, front and top.
        origin_mm: RAS mm of the first point, (3,).
    """

    inside: npt.NDArray[np.bool_]
    origin_mm: npt.NDArray[np.float64]

    def to_mm(self, index: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """RAS mm of indices (…, 3)."""
        return np.asarray(index * STEP_MM + self.origin_mm, np.float64)

    def to_index(self, points_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Indices, between points too, of RAS mm (…, 3)."""
        return np.asarray((points_mm - self.origin_mm) / STEP_MM, np.float64)


def even_grid(mask: npt.NDArray[np.integer], affine_ras: npt.NDArray[np.float64]) -> EvenGrid | None:
    """The foreground of a mask, whatever its values, on an even grid; None where there is none.

    Args:
        mask: labels, (i, j, k).
        affine_ras: voxel to RAS mm, (4, 4).
    """
    box = foreground_box(mask)
    if box is None:
        return None
    # a frame of background, so that what the image's edge cuts ends at its last voxel
    part = np.pad((mask[box] > 0).astype(np.float32), 1)
    start = np.array([one.start - 1 for one in box], float)
    ends = np.array([[0, n - 1] for n in part.shape], float)
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3) + start
    corners_mm = corners @ affine_ras[:3, :3].T + affine_ras[:3, 3]
    origin = corners_mm.min(axis=0) - _MARGIN * STEP_MM
    shape = np.ceil((corners_mm.max(axis=0) - origin) / STEP_MM).astype(int) + 1 + _MARGIN
    to_index = np.linalg.inv(affine_ras)
    offset = to_index[:3, :3] @ origin + to_index[:3, 3] - start
    sampled = ndimage.affine_transform(
        part, to_index[:3, :3] * STEP_MM, offset, tuple(int(n) for n in shape), order=1, output=np.float32
    )
    return EvenGrid(sampled >= 0.5, origin)
