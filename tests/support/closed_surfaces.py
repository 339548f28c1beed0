"""Closed surfaces whose chords are known."""

import numpy as np
import torch


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve triangles, facing outwards."""
    corners = torch.tensor(
        [[(high if bit & 1 << axis else low)[axis] for axis in range(3)] for bit in range(8)], dtype=torch.float64
    )
    sides = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    faces = [triangle for a, b, c, d in sides for triangle in ((a, b, c), (a, c, d))]
    return corners, torch.tensor(faces)


def sphere(radius: float, rings: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Triangles with their corners on a sphere around the origin, facing outwards."""
    segments = 2 * rings
    polar = np.linspace(0, np.pi, rings + 1)[1:-1, None]
    around = np.linspace(0, 2 * np.pi, segments, endpoint=False)[None]
    ring = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around], axis=-1
    )
    vertices = np.concatenate([[[0.0, 0.0, 1.0]], ring.reshape(-1, 3), [[0.0, 0.0, -1.0]]]) * radius
    last = len(vertices) - 1
    faces = []
    for column in range(segments):
        after = (column + 1) % segments
        faces.append((0, 1 + column, 1 + after))
        for row in range(rings - 2):
            top, below = 1 + row * segments, 1 + (row + 1) * segments
            faces += [(top + column, below + column, below + after), (top + column, below + after, top + after)]
        faces.append((last, 1 + (rings - 2) * segments + after, 1 + (rings - 2) * segments + column))
    return torch.from_numpy(vertices), torch.tensor(faces)
