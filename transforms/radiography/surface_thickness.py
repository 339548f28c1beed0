"""How many millimetres of each ray run inside a closed surface of triangles, rasterised on the detector."""

from __future__ import annotations

import torch

from radseg.transforms.radiography.cone_beam import ConeBeam
from radseg.transforms.radiography.surface_normals import outward_normals

_PAIRS_AT_ONCE = 1 << 21
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
    for pixel, signed_depth in _crossings(places[faces], depths_mm[faces], beam.rows, beam.columns):
        sums.index_add_(0, pixel, (signed_depth * _PER_MM).round().to(torch.int64))
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
    places, depths_mm = _projected(vertices_ras, beam)
    shadow = torch.zeros(beam.rows * beam.columns, dtype=torch.bool, device=places.device)
    for pixel, _ in _crossings(places[faces], depths_mm[faces], beam.rows, beam.columns):
        shadow[pixel] = True
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


def _crossings(
    corners: torch.Tensor, depths_mm: torch.Tensor, rows: int, columns: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pixels and signed depths (positive where a ray leaves) of triangles (m, 3, 2) with corners at depths (m, 3)."""
    low = torch.ceil(corners.amin(dim=1)).clamp_(min=0)
    limit = torch.tensor([rows - 1, columns - 1], dtype=corners.dtype, device=corners.device)
    high = torch.minimum(torch.floor(corners.amax(dim=1)), limit)
    extent = (high - low + 1).clamp_(min=0).to(torch.int64)
    extent[extent.amin(dim=1) == 0] = 0
    candidates = extent[:, 0] * extent[:, 1]
    found = []
    ends = torch.cumsum(candidates, dim=0)
    first = 0
    while first < len(corners):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(torch.searchsorted(ends, done + _PAIRS_AT_ONCE, right=True)))
        chosen = slice(first, last)
        found.append(_drawn(corners[chosen], depths_mm[chosen], low[chosen], extent[chosen], columns))
        first = last
    return found


def _drawn(
    corners: torch.Tensor, depths_mm: torch.Tensor, low: torch.Tensor, extent: torch.Tensor, columns: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tests every pixel of each triangle's bounding box."""
    count = extent[:, 0] * extent[:, 1]
    triangle = torch.repeat_interleave(count)
    within = torch.arange(len(triangle), device=corners.device) - (torch.cumsum(count, 0) - count)[triangle]
    width = extent[triangle, 1]
    row = low[triangle, 0] + torch.div(within, width, rounding_mode="floor")
    column = low[triangle, 1] + within % width
    sides = [_side(corners, start, triangle, row, column) for start in range(3)]
    signs = sides[0][0] + sides[1][0] + sides[2][0]
    hit = signs.abs() == 3
    # opposite each side is the corner that its area is the weight of; 1 / depth is linear on the detector
    weights = torch.stack([sides[1][1][hit], sides[2][1][hit], sides[0][1][hit]], dim=1)
    total = weights.sum(dim=1)
    inverse_mm = (weights / depths_mm[triangle[hit]]).sum(dim=1)
    depth = torch.where(inverse_mm != 0, total / inverse_mm, depths_mm[triangle[hit], 0])
    pixel = row[hit].to(torch.int64) * columns + column[hit].to(torch.int64)
    return pixel, depth * torch.sign(signs[hit])


def _side(
    corners: torch.Tensor, start: int, triangle: torch.Tensor, row: torch.Tensor, column: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """On which side (−1, 1) of a triangle's side pixels lie, and twice the signed area that they span with it.

    The side is always computed from the corner that comes first in the picture, so that the neighbour finds the very
    same number; a pixel on the line counts as moved right by nothing and down by nothing squared.
    """
    first, second = corners[:, start], corners[:, (start + 1) % 3]
    swapped = (first[:, 0] > second[:, 0]) | ((first[:, 0] == second[:, 0]) & (first[:, 1] > second[:, 1]))
    first, second = (
        torch.where(swapped[:, None], second, first),
        torch.where(swapped[:, None], first, second),
    )
    turn = torch.where(swapped, -1.0, 1.0).to(corners.dtype)
    way = second - first
    area = way[triangle, 0] * (column - first[triangle, 1]) - way[triangle, 1] * (row - first[triangle, 0])
    when_on_line = torch.where(way[:, 0] != 0, torch.sign(way[:, 0]), -torch.sign(way[:, 1]))[triangle]
    side = torch.where(area != 0, torch.sign(area), when_on_line)
    return side * turn[triangle], area * turn[triangle]
