"""Which pixels lie inside the triangles of a flat picture, by an exact rule at the sides that triangles share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

_PAIRS_AT_ONCE = 1 << 21


@dataclass(frozen=True, eq=False)
class Hits:
    """Some of the pairs of a pixel and a triangle that it lies in.

    Attributes:
        pixel: (n,) int64, row · columns + column.
        triangle: (n,) int64.
        weights: (n, 3), of the triangle's corners, not normalised; what is linear in the picture is their mean. All 0
            in a triangle without area.
        turn: (n,) 1 or −1, the way that the triangle's corners turn.
    """

    pixel: torch.Tensor
    triangle: torch.Tensor
    weights: torch.Tensor
    turn: torch.Tensor


def hits(corners: torch.Tensor, rows: int, columns: int) -> Iterator[Hits]:
    """Draw triangles where pixel centres lie inside them, some at a time.

    A pixel that falls on a side shared by two triangles is given to one of them by the same exact rule from both.

    Args:
        corners: (m, 3, 2), row and column of each triangle's corners; pixel centres are at whole numbers.
        rows: of the picture.
        columns: of the picture.
    """
    low = torch.ceil(corners.amin(dim=1)).clamp_(min=0)
    limit = torch.tensor([rows - 1, columns - 1], dtype=corners.dtype, device=corners.device)
    high = torch.minimum(torch.floor(corners.amax(dim=1)), limit)
    extent = (high - low + 1).clamp_(min=0).to(torch.int64)
    extent[extent.amin(dim=1) == 0] = 0
    ends = torch.cumsum(extent[:, 0] * extent[:, 1], dim=0)
    first = 0
    while first < len(corners):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(torch.searchsorted(ends, done + _PAIRS_AT_ONCE, right=True)))
        chosen = slice(first, last)
        drawn = _drawn(corners[chosen], low[chosen], extent[chosen], columns)
        yield Hits(drawn.pixel, drawn.triangle + first, drawn.weights, drawn.turn)
        first = last


def _drawn(corners: torch.Tensor, low: torch.Tensor, extent: torch.Tensor, columns: int) -> Hits:
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
    # opposite each side is the corner that its area is the weight of
    weights = torch.stack([sides[1][1][hit], sides[2][1][hit], sides[0][1][hit]], dim=1)
    pixel = row[hit].to(torch.int64) * columns + column[hit].to(torch.int64)
    return Hits(pixel, triangle[hit], weights, torch.sign(signs[hit]))


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
