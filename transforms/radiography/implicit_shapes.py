"""Simple solid shapes on a voxel grid, as signed distances in mm: negative inside, joined smoothly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """Cubic voxels along the axes of RAS.

    Attributes:
        first_ras: centre of the first voxel, mm.
        spacing_mm: distance between voxel centres.
        shape: number of voxels along R, A and S.
    """

    first_ras: Point
    spacing_mm: float
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, low_ras: Point, high_ras: Point, spacing_mm: float) -> Grid:
        """The grid that covers the box between two corners."""
        counts = [int((high - low) / spacing_mm) + 2 for low, high in zip(low_ras, high_ras, strict=True)]
        return cls(low_ras, spacing_mm, (counts[0], counts[1], counts[2]))

    @property
    def affine_ras(self) -> torch.Tensor:
        """4×4 float64, voxel index → RAS mm."""
        affine = torch.diag(torch.tensor([self.spacing_mm] * 3 + [1.0], dtype=torch.float64))
        affine[:3, 3] = torch.tensor(self.first_ras, dtype=torch.float64)
        return affine

    def axes(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Coordinates of the voxel centres in mm, float64, shaped to be broadcast: (i, 1, 1), (1, j, 1), (1, 1, k)."""
        x, y, z = (
            first + self.spacing_mm * torch.arange(count, dtype=torch.float64)
            for first, count in zip(self.first_ras, self.shape, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def filled(self, distance_mm: torch.Tensor) -> torch.Tensor:
        """The share of each voxel, 0 to 1, that lies inside a shape."""
        return (0.5 - distance_mm / self.spacing_mm).clamp_(0, 1)


def ellipsoid(grid: Grid, centre: Point, radii: Point) -> torch.Tensor:
    """(i, j, k), roughly the distance to an ellipsoid along the axes; exact for a sphere."""
    scaled = [(axis - at) / radius for axis, at, radius in zip(grid.axes(), centre, radii, strict=True)]
    size = (scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2).sqrt_()
    return (size - 1) * min(radii)


def cone(grid: Grid, start: Point, end: Point, radius_start: float, radius_end: float) -> torch.Tensor:
    """(i, j, k), roughly the distance to a rod with round ends whose radius changes evenly."""
    x, y, z = (axis - at for axis, at in zip(grid.axes(), start, strict=True))
    way = [last - first for first, last in zip(start, end, strict=True)]
    along = ((x * way[0] + y * way[1] + z * way[2]) / sum(part * part for part in way)).clamp_(0, 1)
    off = (x - along * way[0]) ** 2 + (y - along * way[1]) ** 2 + (z - along * way[2]) ** 2
    return off.sqrt_() - (radius_start + along * (radius_end - radius_start))


def joined(first: torch.Tensor, second: torch.Tensor, round_mm: float) -> torch.Tensor:
    """The union of two shapes with the crease between them rounded over about `round_mm`; below 0, what they share."""
    share = (0.5 + (second - first) / (2 * round_mm)).clamp_(0, 1)
    return torch.lerp(second, first, share) - round_mm * share * (1 - share)


def smooth_noise(rng: np.random.Generator, grid: Grid, wavelength_mm: float) -> torch.Tensor:
    """(i, j, k) float64, random with standard deviation of about 1 where not interpolated, smooth over a wavelength."""
    coarse = [max(2, round(count * grid.spacing_mm / wavelength_mm) + 1) for count in grid.shape]
    knots = torch.from_numpy(rng.standard_normal(coarse))
    return functional.interpolate(knots[None, None], grid.shape, mode="trilinear", align_corners=True)[0, 0]
