"""Voxels inside a closed surface: those whose centres a formula finds inside too."""

import closed_surfaces
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.transforms.radiography.implicit_shapes import Grid
from radseg.transforms.radiography.surface_voxels import voxels_inside

GRID = Grid.around((-30, -25, -20), (30, 25, 20), 1.5)


def test_a_sphere_holds_the_voxels_of_its_radius() -> None:
    inside = voxels_inside(*closed_surfaces.sphere(18.0, 90), GRID)
    x, y, z = GRID.axes()
    distance = (x**2 + y**2 + z**2).sqrt()
    assert inside.shape == GRID.shape
    assert bool(inside[distance < 17.9].all())
    assert not inside[distance > 18.0].any()


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-19, 0)] * 3), st.tuples(*[st.floats(0.5, 19)] * 3), st.booleans())
def test_a_box_holds_the_voxels_between_its_faces_whichever_way_it_is_turned(
    low: tuple[float, float, float], high: tuple[float, float, float], inside_out: bool
) -> None:
    vertices, faces = closed_surfaces.box(low, high)
    inside = voxels_inside(vertices, faces.flip(1) if inside_out else faces, GRID)
    counts = [
        int(((axis.flatten() > first) & (axis.flatten() < last)).sum())
        for axis, first, last in zip(GRID.axes(), low, high, strict=True)
    ]
    on_a_face = any(
        bool((axis.flatten() - side).abs().min() < 1e-9)
        for axis, sides in zip(GRID.axes(), zip(low, high, strict=True), strict=True)
        for side in sides
    )
    assert on_a_face or int(inside.sum()) == np.prod(counts)


def test_a_surface_that_leaves_the_grid_is_cut_off_at_its_edge() -> None:
    inside = voxels_inside(*closed_surfaces.box((-99, -99, -99), (0.1, 99, 99)), GRID)
    assert torch.equal(inside, (GRID.axes()[0] < 0.1).expand(GRID.shape))


def test_what_two_parts_enclose_is_inside_once() -> None:
    first, faces = closed_surfaces.box((-10.2, -10.2, -10.2), (5, 10.2, 10.2))
    second, _ = closed_surfaces.box((-5, -10.2, -10.2), (10.2, 10.2, 10.2))
    both = voxels_inside(torch.cat([first, second]), torch.cat([faces, faces + len(first)]), GRID)
    whole = closed_surfaces.box((-10.2, -10.2, -10.2), (10.2, 10.2, 10.2))
    assert torch.equal(both, voxels_inside(*whole, GRID))
