"""Triangles on pixels: shared sides belong to one of two neighbours, and what is linear stays so."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.transforms.radiography.triangle_raster import Hits, hits


def drawn(corners: list[list[list[float]]], rows: int = 20, columns: int = 30) -> Hits:
    found = list(hits(torch.tensor(corners, dtype=torch.float64), rows, columns))
    return Hits(
        *(torch.cat([getattr(one, name) for one in found]) for name in ("pixel", "triangle", "weights", "turn"))
    )


whole = st.integers(-3, 33).map(float)
corner = st.tuples(whole, whole).map(list)


@settings(max_examples=200, deadline=None)
@given(corner, corner, corner, corner)
def test_pixels_on_a_side_that_two_triangles_share_belong_to_one_of_them(
    a: list[float], b: list[float], c: list[float], d: list[float]
) -> None:
    # around a closed fan, here two triangles and their backs, every pixel is entered as often as left
    found = drawn([[a, b, c], [a, c, d], [c, b, a], [d, c, a]])
    turns = torch.zeros(20 * 30).index_add_(0, found.pixel, found.turn.float())
    assert not turns.any()


def test_a_square_of_two_triangles_covers_each_of_its_pixels_once() -> None:
    found = drawn([[[2, 3], [2, 9], [8, 9]], [[2, 3], [8, 9], [8, 3]]])
    pixels, counts = torch.unique(found.pixel, return_counts=True)
    assert len(pixels) == 36
    assert int(counts.max()) == 1
    assert sorted(found.triangle.unique().tolist()) == [0, 1]


def test_the_weighted_mean_of_the_corners_is_the_pixel_itself() -> None:
    corners = torch.tensor([[1.3, 2.2], [15.8, 4.4], [7.1, 25.6]], dtype=torch.float64)
    found = drawn([corners.tolist()])
    means = (found.weights @ corners) / found.weights.sum(dim=1, keepdim=True)
    places = torch.stack([found.pixel // 30, found.pixel % 30], dim=1).double()
    torch.testing.assert_close(means, places)
    assert len(places) == pytest.approx(14.5 * 23.4 / 2 - 0.5 * 2.2 * 5.8, abs=15)


def test_what_lies_beside_the_picture_hits_nothing() -> None:
    assert len(drawn([[[-9, -9], [-2, -9], [-2, -4]], [[4.2, 5.2], [4.4, 5.2], [4.3, 5.4]]]).pixel) == 0
