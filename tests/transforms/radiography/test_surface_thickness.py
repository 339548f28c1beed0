"""Chords of closed surfaces: the sphere's formula, watertight at shared edges, holes closed, shells inside."""

import closed_surfaces
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.transforms.radiography.cone_beam import ConeBeam
from radseg.transforms.radiography.surface_thickness import (
    chord_lengths,
    close_holes,
    moved_inwards,
    surface_mask,
)

BEAM = ConeBeam(1000, 850, (0, 0, 0), 90, 90, 1.5)


def known_sphere_chords(radius: float, beam: ConeBeam) -> torch.Tensor:
    rays = torch.nn.functional.normalize(beam.pixel_centres_ras() - beam.source_ras, dim=-1)
    off_squared = beam.source_ras @ beam.source_ras - (rays @ beam.source_ras) ** 2
    return 2 * (radius**2 - off_squared).clamp(min=0).sqrt()


def test_a_sphere_has_the_chords_of_its_formula() -> None:
    vertices, faces = closed_surfaces.sphere(50.0)
    chords, known = chord_lengths(vertices, faces, BEAM), known_sphere_chords(50.0, BEAM)
    # flat sides of 3° both ways lie at most 2 · 50 (1 − cos 1.5°) = 0.034 mm inside; two sides, met at 0.4 of upright
    assert float((chords - known).abs()[known > 40].max()) < 2 * 0.034 / 0.4
    assert not chords[known == 0].any()
    assert int(((known > 5) & (chords == 0)).sum()) == 0


def test_a_box_has_its_depth_along_each_ray() -> None:
    vertices, faces = closed_surfaces.box((-30, -10, -30), (30, 10, 30))
    chords = chord_lengths(vertices, faces, BEAM)
    rays = torch.nn.functional.normalize(BEAM.pixel_centres_ras() - BEAM.source_ras, dim=-1)
    through = surface_mask(vertices, faces, BEAM)
    middle = through.clone()
    middle[:26], middle[-26:], middle[:, :26], middle[:, -26:] = False, False, False, False
    torch.testing.assert_close(chords[middle], (20 / -rays[..., 1])[middle], atol=1e-5, rtol=0)
    assert 35 < float(through.any(dim=1).sum()) * 1.5 / BEAM.magnification < 63


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-30, 30)] * 3), st.integers(8, 30))
def test_no_ray_slips_through_an_edge(turn: tuple[float, float, float], rings: int) -> None:
    # the beam's axis and with it whole rows of pixels run along edges and through corners of this surface
    vertices, faces = closed_surfaces.sphere(40.0, rings)
    beam = ConeBeam(1000, 850, (0, 0, 0), 41, 41, 2.0, "AP", *turn)
    chords = chord_lengths(vertices, faces, beam)
    assert float(chords.max()) <= 80 + 1e-6
    assert bool((chords[known_sphere_chords(40.0 * 0.9, beam) > 0] > 20).all())


@pytest.mark.parametrize("pixels", [31, 32])
def test_pixels_exactly_on_shared_edges_are_counted_once(pixels: int) -> None:
    vertices, faces = closed_surfaces.box((-40, -20, -40), (40, 20, 40))
    beam = ConeBeam(1000, 850, (0, 0, 0), pixels, pixels, 2.0)  # diagonals of both squares run through pixel centres
    chords = chord_lengths(vertices, faces, beam)
    assert float(chords.min()) >= 40 - 1e-5
    assert float(chords.max()) < 40.2


def test_chords_do_not_depend_on_which_way_the_triangles_face_or_stand() -> None:
    vertices, faces = closed_surfaces.sphere(30.0, 12)
    chords = chord_lengths(vertices, faces, BEAM)
    assert torch.equal(chords, chord_lengths(vertices, faces.flip(1), BEAM))
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))
    assert torch.equal(chords, chord_lengths(vertices, faces[order], BEAM))


def test_the_shadow_is_where_there_is_thickness() -> None:
    vertices, faces = closed_surfaces.sphere(30.0, 20)
    assert torch.equal(surface_mask(vertices, faces, BEAM), chord_lengths(vertices, faces, BEAM) > 0)


def test_a_surface_with_holes_is_refused_until_they_are_closed() -> None:
    vertices, faces = closed_surfaces.sphere(50.0)
    torn = torch.cat([faces[:3000], faces[3004:9000], faces[9001:]])
    with pytest.raises(ValueError, match="close_holes"):
        chord_lengths(vertices, torn, BEAM)
    closed = close_holes(torn)
    assert len(closed) > len(torn)
    difference = chord_lengths(vertices, closed, BEAM) - chord_lengths(vertices, faces, BEAM)
    assert float(difference.abs().max()) < 1
    assert torch.equal(close_holes(faces), faces)


def test_a_surface_outside_the_beam_is_refused() -> None:
    vertices, faces = closed_surfaces.sphere(50.0, 10)
    with pytest.raises(ValueError, match="between the source and the detector"):
        chord_lengths(vertices + torch.tensor([0.0, -140.0, 0.0]), faces, BEAM)


def test_parts_beside_the_detector_are_cut_off() -> None:
    vertices, faces = closed_surfaces.sphere(50.0, 20)
    small = ConeBeam(1000, 850, (0, 0, 0), 10, 10, 1.5)
    assert torch.allclose(chord_lengths(vertices, faces, small), chord_lengths(vertices, faces, BEAM)[40:50, 40:50])


def test_the_inside_of_a_shell_is_thinner_on_both_sides() -> None:
    vertices, faces = closed_surfaces.sphere(50.0)
    core = moved_inwards(vertices, faces, 2.0)
    assert float((torch.linalg.vector_norm(core, dim=1) - 48).abs().max()) < 0.01
    far = torch.tensor([500.0, -300.0, 900.0])
    assert torch.allclose(core, moved_inwards(vertices + far, faces, 2.0) - far, atol=1e-4)
    assert torch.allclose(core, moved_inwards(vertices, faces.flip(1), 2.0))
