"""Which way is out at each vertex of a closed surface of triangles."""

from __future__ import annotations

import torch


def outward_normals(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Unit normals of the vertices (n, 3), means of their triangles' normals weighed by area, pointing outwards.

    Args:
        vertices: (n, 3), mm.
        faces: (m, 3) integers, all turning the same way around, whichever that is.

    Returns:
        (n, 3); 0 at a vertex without a triangle.
    """
    faces = faces.to(torch.int64)
    corners = vertices[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if float((normals * (corners[:, 0] - vertices.mean(dim=0))).sum()) < 0:  # six times the volume, signed
        normals = -normals
    summed = torch.zeros_like(vertices)
    for corner in range(3):
        summed.index_add_(0, faces[:, corner], normals)
    return torch.nn.functional.normalize(summed, dim=1)
