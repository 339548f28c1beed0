"""Tilted and uneven series as volumes: every structure stays where it was in the patient."""

import tracemalloc

import numpy as np
import pytest
from directions import directions
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass

from radseg.pipelines.io.dicom.arrangement import Arrangement, Slice, arrange
from radseg.pipelines.io.dicom.ct_series import read_series
from radseg.pipelines.io.dicom.straighten import straighten

ROWS, COLUMNS, SPACING = 48, 56, (0.9, 0.7)
RADIUS_MM = 8.0
AIR = -1024


@st.composite
def stacks(draw):
    """Slices in any direction, order and spacing that is accepted, tilted by up to 30° to any side."""
    row, column = map(np.array, draw(directions()))
    steps = draw(
        st.one_of(
            st.lists(st.sampled_from([2.0, 2.5, 3.0, 4.0]), min_size=10, max_size=14),
            st.builds(lambda count: [2.5] * count, st.integers(10, 14)),
            st.builds(lambda where: [2.0] * where + [4.0] + [2.0] * (12 - where), st.integers(0, 12)),
        )
    )
    slope, side = np.tan(np.radians(draw(st.floats(-30, 30)))), np.radians(draw(st.sampled_from([0, 30, 90, 200])))
    along = np.cross(row, column) + slope * (np.cos(side) * row + np.sin(side) * column)
    origin = np.array([12.5, -30.0, 44.0])
    slices = [
        Slice(tuple(origin + depth * along), row, column, SPACING, ROWS, COLUMNS, 2.0)
        for depth in np.concatenate([[0], np.cumsum(steps)])
    ]
    return draw(st.permutations(slices))


def pixel_places_mm(one):
    """LPS of a slice's pixels, (row, column, 3)."""
    j, i = np.meshgrid(np.arange(one.rows), np.arange(one.columns), indexing="ij")
    between_rows, between_columns = one.pixel_spacing_mm
    along_row, along_column = np.array(one.row_direction), np.array(one.column_direction)
    return (
        np.array(one.position_mm)
        + between_columns * i[..., None] * along_row
        + (between_rows * j[..., None] * along_column)
    )


def voxel_places_mm(result, shape_kji):
    k, j, i = np.indices(shape_kji)
    return np.stack([i, j, k], axis=-1) @ result.affine_lps[:3, :3].T + result.affine_lps[:3, 3]


def straightened(slices, value, dtype=np.float32):
    """Arrangement and straightened stack of what `value` says of places in mm."""
    result = arrange(slices)
    assert isinstance(result, Arrangement), result
    stack = np.stack([value(pixel_places_mm(slices[index])) for index in result.order]).astype(dtype)
    if result.straightening is None:
        return result, stack
    return result, straighten(stack, result.straightening, AIR)


@settings(deadline=None, max_examples=40)
@given(stacks(), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_hu_that_rise_evenly_through_the_patient_are_unchanged(slices, slope):
    slope = np.array(slope)
    result, stack = straightened(slices, lambda places: places @ slope + 3000)
    expected = voxel_places_mm(result, stack.shape) @ slope + 3000
    reached = stack != AIR
    # at the border a pixel's outer half repeats its value, and the one of two slices that reaches there is taken
    row, column = slices[0].row_direction, slices[0].column_direction
    border = [
        0.5 * SPACING[1] * (row @ slope),
        0.5 * SPACING[0] * (column @ slope),
        4.0 * (np.cross(row, column) @ slope),
    ]
    assert abs(stack - expected)[reached].max() <= abs(np.array(border)).sum() + 0.1 * np.linalg.norm(slope) + 0.01
    if result.straightening is None:
        first, size, last = np.zeros((1, 2)), (COLUMNS, ROWS), len(slices) - 1
    else:
        first, size, last = result.straightening.shift_ij, result.straightening.size_ij, result.straightening.at[-1]
    assert stack.shape[1:] == size[::-1]
    (i, j), (i_end, j_end) = np.ceil(first.max(axis=0)).astype(int), np.floor(first.min(axis=0)).astype(int)
    everywhere = np.s_[: int(last) + 1, j : j_end + ROWS, i : i_end + COLUMNS]  # where every slice reaches
    assert reached[everywhere].all()
    if stack[everywhere].size:  # slices may stand 0.1 mm off the planes that take them
        assert abs(stack - expected)[everywhere].max() <= 0.1 * np.linalg.norm(slope) + 0.01


@settings(deadline=None, max_examples=40)
@given(stacks(), st.booleans())
def test_a_sphere_keeps_its_centre_and_size_in_mm(slices, whole):
    middle = sum(pixel_places_mm(one).mean(axis=(0, 1)) for one in slices) / len(slices)

    def ball(places):  # soft at its border, as an image is
        return np.clip((RADIUS_MM - np.linalg.norm(places - middle, axis=-1)) * 200 + 500, 0, 1000)

    result, stack = straightened(slices, ball, np.int16 if whole else np.float32)
    assert stack.dtype == (np.int16 if whole else np.float32)
    weight = np.maximum(stack, 0).astype(float)
    centre = (result.affine_lps @ [*center_of_mass(weight)[::-1], 1])[:3]
    np.testing.assert_allclose(centre, middle, atol=0.25)
    volume = (stack > 500).sum() * abs(np.linalg.det(result.affine_lps[:3, :3]))
    assert volume == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3, rel=0.12)


def axial(depths, aside=(0.0, 0.0), rows=ROWS, columns=COLUMNS):
    return [Slice((aside[0] * d, aside[1] * d, d), (1, 0, 0), (0, 1, 0), SPACING, rows, columns, 2.0) for d in depths]


def test_slices_on_the_planes_keep_their_very_pixels_and_only_the_missing_one_is_mixed():
    stack = np.random.default_rng(0).integers(-1000, 2000, (6, ROWS, COLUMNS)).astype(np.int16)
    how = arrange(axial([0, 2, 4, 8, 10, 12])).straightening
    filled = straighten(stack, how, AIR)
    np.testing.assert_array_equal(filled[[0, 1, 2, 4, 5, 6]], stack)
    np.testing.assert_array_equal(filled[3], np.rint((stack[2].astype(float) + stack[3]) / 2))


def test_a_shift_by_whole_pixels_keeps_the_very_pixels_and_air_lies_beside_them():
    stack = np.random.default_rng(0).integers(-1000, 2000, (4, ROWS, COLUMNS)).astype(np.int16)
    result = arrange(axial([0, 3, 6, 9], aside=(-0.7 / 3, 0.0)))  # one column a slice
    straight = straighten(stack, result.straightening, AIR)
    assert straight.shape == (4, ROWS, COLUMNS + 3)
    for k in range(4):
        np.testing.assert_array_equal(straight[k, :, 3 - k : 3 - k + COLUMNS], stack[k])
    assert (straight[0, :, :3] == AIR).all()
    assert (straight[3, :, COLUMNS:] == AIR).all()


def test_where_only_one_of_two_slices_reaches_there_is_no_mixture_with_air():
    stack = np.full((4, ROWS, COLUMNS), 40, np.int16)
    result = arrange(axial([0, 3, 9, 12], aside=(0.0, 0.3)))
    straight = straighten(stack, result.straightening, AIR)
    assert set(np.unique(straight)) == {AIR, 40}


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_beside_the_result_it_takes_the_memory_of_a_few_slices(dtype):
    stack = np.zeros((60, 128, 128), dtype)
    how = arrange(axial(np.arange(60) * 1.0, aside=(0.0, 0.2), rows=128, columns=128)).straightening
    tracemalloc.start()
    try:
        straight = straighten(stack, how, AIR)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= straight.nbytes + 12 * 128 * 128 * 4 + 100_000


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("degrees", [-20.0, 12.0])
def test_a_tilted_dicom_series_is_a_regular_volume_with_the_sphere_in_its_place(tmp_path, factory, degrees, backwards):
    orientation = (1.0, 0.0, 0.0, 0.0, np.cos(np.radians(degrees)), -np.sin(np.radians(degrees)))
    slices = [
        Slice((-20.0, -25.0, 3.0 * k), orientation[:3], orientation[3:], factory.SPACING_MM, 64, 72) for k in range(16)
    ]
    middle = sum(pixel_places_mm(one).mean(axis=(0, 1)) for one in slices) / len(slices)
    hu = np.stack(
        [np.where(np.linalg.norm(pixel_places_mm(one) - middle, axis=-1) < 12, 300, -1000).T for one in slices], axis=-1
    )
    folder = factory.write_series(
        tmp_path,
        hu,
        change=lambda k, dataset: factory.place(dataset, slices[k].position_mm, orientation),
        names=(lambda k: f"IM{99 - k}") if backwards else "IM{}".format,
    )
    volume = read_series(sorted(folder.iterdir()))
    assert volume.array.dtype == np.int16
    assert volume.notes == (f"gantry tilt of {abs(degrees):.1f}°: slices sheared back to an upright grid",)
    axes = volume.affine_ras[:3, :3] / volume.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert volume.spacing_mm == pytest.approx((0.6, 0.8, 3 * np.cos(np.radians(degrees))))
    found = (volume.affine_ras @ [*center_of_mass(volume.array > -350), 1])[:3]
    np.testing.assert_allclose(found, middle * [-1, -1, 1], atol=0.1)


def test_a_tag_that_contradicts_the_positions_is_only_noted(tmp_path, factory):
    hu = factory.phantom()
    folder = factory.write_series(tmp_path, hu, change=lambda k, dataset: setattr(dataset, "GantryDetectorTilt", 15))
    volume = read_series(sorted(folder.iterdir()))
    np.testing.assert_array_equal(volume.array, hu)
    assert volume.notes == ("GantryDetectorTilt says 15.0°, the slices' positions 0.0°: the positions are used",)


def test_fractions_of_hu_stay_fractions(tmp_path, factory):
    def change(k, dataset):
        dataset.RescaleSlope = 0.5

    volume = read_series(sorted(factory.write_series(tmp_path, change=change, skip=(3,)).iterdir()))
    assert volume.array.dtype == np.float32
    expected = (factory.phantom().astype(float) + 1024) * 0.5 - 1024
    np.testing.assert_allclose(volume.array, expected, atol=1e-3)  # evenly rising: the missing slice comes out whole
    assert "1 missing slice near z = 37.5 mm made up from the neighbours" in volume.notes
