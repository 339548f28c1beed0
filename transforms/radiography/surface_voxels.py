"""Which voxels lie inside a closed surface of triangles."""

from __future__ import annotations

import torch

from radseg.transforms.radiography.implicit_shapes import Grid
from radseg.transforms.radiography.triangle_raster import hits


def voxels_inside(vertices_ras: torch.Tensor, faces: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The voxels whose centres a closed surface encloses, seen along the grid's last axis.

    Args:
        vertices_ras: (n, 3), mm.
        faces: (m, 3) integers, vertices of each triangle, all turning the same way around (see `close_holes`).
        grid: the voxels.

    Returns:
        (i, j, k) bool. What several parts of the surface enclose is inside; folds turned inside out are not.
    """
    faces = faces.to(torch.int64)
    first = torch.tensor(grid.first_ras, dtype=vertices_ras.dtype, device=vertices_ras.device)
    corners = ((vertices_ras - first) / grid.spacing_mm)[faces]
    rows, columns, layers = grid.shape
    turns = torch.zeros(rows * columns * (layers + 1), dtype=torch.int32, device=vertices_ras.device)
    for hit in hits(corners[..., :2], rows, columns):
        heights = corners[hit.triangle, :, 2]
        total = hit.weights.sum(dim=1)
        height = torch.where(total != 0, (hit.weights * heights).sum(dim=1) / total, heights[:, 0])
        layer = torch.ceil(height).clamp_(0, layers).to(torch.int64)
        turns.index_add_(0, hit.pixel * (layers + 1) + layer, hit.turn.to(torch.int32))
    enclosed = turns.reshape(rows, columns, layers + 1).cumsum(dim=2)[..., :layers]
    return enclosed > 0 if int(enclosed.sum()) > 0 else enclosed < 0
