"""The voxel grid of a synthetic CT, described once for NIfTI (RAS) and DICOM (LPS)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Columns, rows and slices of a CT volume in patient space.

    The array axes are in DICOM order: i is the column index (towards the patient's left), j the row index (towards
    posterior), k the slice (towards superior).

    Attributes:
        shape: Number of columns, rows and slices.
        spacing_mm: Distance of voxel centres along i, j and k.
        center_lps: Patient position in mm (DICOM's LPS) of the middle of the volume.
        tilt_degrees: Rotation of the grid about the patient's left-right axis.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    center_lps: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tilt_degrees: float = 0.0

    @property
    def tilt(self) -> float:
        """Rotation about the left-right axis in radians."""
        return math.radians(self.tilt_degrees)

    @property
    def directions_lps(self) -> FloatArray:
        """Unit vectors of i, j and k as columns of a 3×3 matrix in LPS, to 12 decimals."""
        cosine, sine = round(math.cos(self.tilt), 12), round(math.sin(self.tilt), 12)
        return np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])

    @property
    def affine_lps(self) -> FloatArray:
        """4×4 matrix from voxel indices (i, j, k) to LPS mm, the origin on a grid of 1/64 mm."""
        columns = self.directions_lps * np.array(self.spacing_mm)
        middle = (np.array(self.shape) - 1) / 2
        origin = np.array(self.center_lps) - (columns * middle).sum(axis=1)
        affine = np.eye(4)
        affine[:3, :3] = columns
        affine[:3, 3] = np.rint(origin * 64) / 64
        return affine

    @property
    def affine_ras(self) -> FloatArray:
        """4×4 matrix from voxel indices (i, j, k) to RAS mm."""
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine_lps + 0.0

    @property
    def quaternion_ras(self) -> tuple[float, float, float]:
        """NIfTI's `quatern_b`, `quatern_c` and `quatern_d` in RAS: half a turn about z, then the tilt."""
        return 0.0, math.sin(self.tilt / 2), math.cos(self.tilt / 2)

    def positions_lps(self, slice_offset: float = 0.0) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return x, y and z in LPS mm of all voxel centres, in shapes that broadcast to `shape`.

        Args:
            slice_offset: Shift along k as a share of the slice distance, to sample within thick slices.
        """
        columns, rows, slices = self.shape
        affine = self.affine_lps
        i = np.arange(columns, dtype=np.float64)[:, None, None]
        j = np.arange(rows, dtype=np.float64)[None, :, None]
        k = np.arange(slices, dtype=np.float64)[None, None, :] + slice_offset
        x = affine[0, 0] * i + affine[0, 3]
        y = affine[1, 1] * j + affine[1, 2] * k + affine[1, 3]
        z = affine[2, 1] * j + affine[2, 2] * k + affine[2, 3]
        return x, y, z
