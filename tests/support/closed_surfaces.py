"""Closed surfaces whose chords are known."""

from pathlib import Path

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


def hip_bone(side: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A pyramid with its tip at 0, and in its base at x = ±100 a socket of 25 mm, facing +x for side 1, −x for −1."""
    step = torch.linspace(-50, 50, 81, dtype=torch.float64)
    y, z = torch.meshgrid(step, step, indexing="ij")
    depth = (25.0**2 - y**2 - z**2).clamp(min=0).sqrt()
    vertices = torch.stack([100 - depth + 0.002 * (y**2 + z**2) * (depth == 0), y, z], dim=-1).reshape(-1, 3)
    number = torch.arange(81 * 81).reshape(81, 81)
    a, b, c, d = (part.reshape(-1) for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    tip = torch.zeros(1, 3, dtype=torch.float64)
    rim = torch.cat([number[0], number[1:, -1], number[-1].flip(0)[1:], number[1:-1, 0].flip(0)])
    fan = torch.stack([rim, rim.roll(-1), torch.full_like(rim, 81 * 81)], dim=1)
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1), fan])
    mirrored = torch.tensor([side, 1.0, 1.0], dtype=torch.float64)
    return torch.cat([vertices, tip]) * mirrored, faces if side > 0 else faces.flip(1)


def sacrum() -> tuple[torch.Tensor, torch.Tensor]:
    """A ball of 30 mm behind and between the hip bones."""
    vertices, faces = sphere(30.0, 20)
    return vertices + torch.tensor([0.0, -40.0, 30.0], dtype=torch.float64), faces


def write_vtk(path: Path, vertices: torch.Tensor, faces: torch.Tensor) -> None:
    """Write a surface in RAS as legacy VTK in LPS, as it is published."""
    lps = vertices * torch.tensor([-1.0, -1.0, 1.0], dtype=vertices.dtype)
    points = "\n".join(" ".join(f"{value:.4f}" for value in point) for point in lps.tolist())
    triangles = "\n".join("3 " + " ".join(str(corner) for corner in face) for face in faces.tolist())
    head = f"# vtk DataFile Version 3.0\nmade\nASCII\nDATASET POLYDATA\nPOINTS {len(lps)} float\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}{points}\nPOLYGONS {len(faces)} {4 * len(faces)}\n{triangles}\n")


def write_pelvis(folder: Path, number: int) -> None:
    """Write a made pelvis: two hip bones with sockets, and a ball for a sacrum."""
    write_vtk(folder / "right" / f"RightHip{number}.vtk", *hip_bone(1.0))
    write_vtk(folder / "left" / f"LeftHip{number}.vtk", *hip_bone(-1.0))
    write_vtk(folder / "sacrum" / f"Sacrum{number}.vtk", *sacrum())
