"""How many millimetres of each ray run inside a closed surface of triangles, rasterised on the detector."""

from __future__ import annotations

import torch

from radseg.transforms.radiography.cone_beam import ConeBeam
from radseg.transforms.radiography.surface_normals import outward_normals
from radseg.transforms.radiography.triangle_raster import Hits, hits

_PER_MM = float(1 << 24)  # depths are added up as integers of 6e-8 mm


def chord_lengths(vertices_ras: torch.Tensor, faces: torch.Tensor, beam: ConeBeam) -> torch.Tensor:
    """The length of each ray inside a closed surface: the depths where it leaves minus those where it enters.

    Triangles are drawn where the detector's pixel centres lie inside them. A pixel that falls on an edge shared by two
    triangles is given to one side by the same exact rule from both, so every ray enters as often as it leaves and no
    ray slips through. Depths are added up as integers, which makes the result the same whatever the order, on any
    device. For the triangles as given the result is exact to about 1e-6 mm.

    Args:
        vertices_ras: (n, 3), mm.
        faces: (m, 3) integers, vertices of each triangle, all turning the same way around (in or out).
        beam: the geometry; the surface lies between source and detector.

    Returns:
        (rows, columns) float64 mm, on the vertices' device. Where a surface runs through itself the overlap counts
        twice, folds turned inside out count as nothing.

    Raises:
        ValueError: the surface has an open edge or triangles that turn both ways (see `close_holes`), or it doesn't
            lie between source and detector.
    """
    faces = faces.to(torch.int64)
    if len(_open_edges(faces)):
        raise ValueError("the surface isn't closed, or its triangles don't all turn the same way; try close_holes.")
    places, depths_mm = _projected(vertices_ras, beam)
    sums = torch.zeros(beam.rows * beam.columns, dtype=torch.int64, device=places.device)
    for hit in hits(places[faces], beam.rows, beam.columns):
        depth = _depth(hit, depths_mm[faces[hit.triangle]])
        sums.index_add_(0, hit.pixel, (depth * hit.turn * _PER_MM).round().to(torch.int64))
    along_axis = (sums.to(torch.float64) / _PER_MM).reshape(beam.rows, beam.columns)
    rays = beam.pixel_centres_ras().to(places.device) - beam.source_ras.to(places.device)
    per_depth: torch.Tensor = torch.linalg.vector_norm(rays, dim=-1) / beam.source_to_detector_mm
    if float(along_axis.sum()) < 0:  # the triangles face inwards
        along_axis = -along_axis
    return (along_axis * per_depth).clamp_(min=0)


def surface_mask(vertices_ras: torch.Tensor, faces: torch.Tensor, beam: ConeBeam) -> torch.Tensor:
    """The exact shadow of a surface: the pixels whose ray meets any of its triangles, by the rule of `chord_lengths`.

    Args:
        vertices_ras: (n, 3), mm.
        faces: (m, 3) integers; holes and folds do no harm.
        beam: the geometry; the surface lies between source and detector.

    Returns:
        (rows, columns), bool, on the vertices' device.

    Raises:
        ValueError: the surface doesn't lie between source and detector.
    """
    faces = faces.to(torch.int64)
    places, _ = _projected(vertices_ras, beam)
    shadow = torch.zeros(beam.rows * beam.columns, dtype=torch.bool, device=places.device)
    for hit in hits(places[faces], beam.rows, beam.columns):
        shadow[hit.pixel] = True
    return shadow.reshape(beam.rows, beam.columns)


def close_holes(faces: torch.Tensor) -> torch.Tensor:
    """Add triangles that fill a surface's holes, each as a fan from one vertex of its rim.

    Args:
        faces: (m, 3), all turning the same way around.

    Returns:
        (m + added, 3) int64, without an open edge.
    """
    faces = faces.to(torch.int64)
    open_edges = _open_edges(faces).tolist()
    rim_of: dict[int, int] = {}

    def rim(vertex: int) -> int:
        while rim_of.setdefault(vertex, vertex) != vertex:
            vertex = rim_of[vertex]
        return vertex

    for start, end in open_edges:
        first, second = rim(start), rim(end)
        rim_of[max(first, second)] = min(first, second)
    added = [(end, start, rim(start)) for start, end in open_edges if rim(start) not in (start, end)]
    if not added:
        return faces
    return torch.cat([faces, torch.tensor(added, dtype=torch.int64, device=faces.device)])


def moved_inwards(vertices: torch.Tensor, faces: torch.Tensor, distance_mm: float) -> torch.Tensor:
    """The vertices (n, 3) moved against their normals by a distance: the inside of a shell, such as cortical bone.

    Where the surface is thinner than the shell it turns inside out, which `chord_lengths` counts as nothing.
    """
    return vertices - distance_mm * outward_normals(vertices, faces)


def _projected(vertices_ras: torch.Tensor, beam: ConeBeam) -> tuple[torch.Tensor, torch.Tensor]:
    places, depths_mm = beam.project(vertices_ras)
    if len(depths_mm) and not (float(depths_mm.min()) > 0 and float(depths_mm.max()) < beam.source_to_detector_mm):
        raise ValueError("the surface must lie between the source and the detector.")
    return places, depths_mm


def _depth(hit: Hits, corners_mm: torch.Tensor) -> torch.Tensor:
    """Where rays meet triangles (n,) with corners at depths (n, 3): 1 / depth is linear on the detector."""
    inverse_mm = (hit.weights / corners_mm).sum(dim=1)
    return torch.where(inverse_mm != 0, hit.weights.sum(dim=1) / inverse_mm, corners_mm[:, 0])


def _open_edges(faces: torch.Tensor) -> torch.Tensor:
    """(edges, 2), directed edges that no triangle runs through the other way, as often as they are left over."""
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = directed[directed[:, 0] != directed[:, 1]]
    forth = directed[:, 0] < directed[:, 1]
    edges, which = torch.unique(torch.sort(directed, dim=1).values, dim=0, return_inverse=True)
    balance = torch.zeros(len(edges), dtype=torch.int64, device=faces.device)
    balance.index_add_(0, which, torch.where(forth, 1, -1))
    over = edges[balance != 0]
    times = balance[balance != 0]
    over = torch.where((times > 0)[:, None], over, over.flip(1))
    return over.repeat_interleave(times.abs(), dim=0)
