"""Slices in space, without files."""

import numpy as np
import pytest
from directions import directions
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.io.dicom.arrangement import Arrangement, Slice, arrange


def stack(count: int = 5, step=(0.0, 0.0, 2.5), row=(1.0, 0.0, 0.0), column=(0.0, 1.0, 0.0), **changes):
    fields = {"pixel_spacing_mm": (0.8, 0.6), "rows": 5, "columns": 7, "thickness_mm": 3.0} | changes
    origin = np.array([10.0, -20.0, 30.0])
    return [Slice(tuple(origin + k * np.array(step)), row, column, **fields) for k in range(count)]


@settings(deadline=None, max_examples=60)
@given(directions(), st.permutations(range(6)), st.floats(0.3, 8.0))
def test_every_voxel_keeps_its_place_in_any_direction_and_file_order(directions, shuffled, step):
    row, column = directions
    normal = np.cross(row, column)
    slices = [stack(6, step * normal, row, column)[k] for k in shuffled]
    result = arrange(slices)
    assert isinstance(result, Arrangement)
    for k, index in enumerate(result.order):
        one = slices[index]
        for i, j in ((0, 0), (6, 4), (3, 1)):
            expected = np.array(one.position_mm) + 0.6 * i * np.array(row) + 0.8 * j * np.array(column)
            np.testing.assert_allclose((result.affine_lps @ [i, j, k, 1])[:3], expected, atol=1e-6)
    assert np.linalg.det(result.affine_lps[:3, :3]) > 0


def test_spacing_between_slices_comes_from_positions_not_thickness():
    result = arrange(stack(4, (0, 0, 1.25), thickness_mm=5.0))
    assert result.affine_lps[2, 2] == pytest.approx(1.25)


def test_a_single_slice_is_as_thick_as_it_says():
    assert arrange(stack(1)).affine_lps[2, 2] == pytest.approx(3.0)
    assumed = arrange(stack(1, thickness_mm=None))
    assert assumed.affine_lps[2, 2] == 1.0
    assert "1 mm assumed" in assumed.notes[0]


def test_positions_rounded_to_a_tenth_are_still_even():
    slices = [Slice((0, 0, round(k * 0.625, 1)), (1, 0, 0), (0, 1, 0), (1, 1), 5, 5) for k in range(40)]
    result = arrange(slices)
    assert result.affine_lps[2, 2] == pytest.approx(0.625, abs=0.01)


@settings(deadline=None, max_examples=40)
@given(st.integers(4, 30), st.data())
def test_a_missing_slice_gets_a_plane_wherever_it_is(count, data):
    gone = data.draw(st.integers(1, count - 2))
    result = arrange([one for k, one in enumerate(stack(count)) if k != gone])
    assert isinstance(result, Arrangement)
    assert result.straightening.at.tolist() == [k for k in range(count) if k != gone]
    assert result.straightening.planes == count
    assert f"1 missing slice near z = {30 + 2.5 * gone:.1f} mm" in result.notes[0]
    np.testing.assert_allclose(result.affine_lps, arrange(stack(count)).affine_lps, atol=1e-9)


@pytest.mark.parametrize("gone", [1, 2])
def test_of_three_slices_a_gap_is_seen(gone):
    result = arrange([one for k, one in enumerate(stack(4)) if k != gone])
    assert "1 missing slice" in result.notes[0]
    assert result.straightening.planes == 4


@pytest.mark.parametrize(
    ("step", "gone", "said"),
    [
        (2.5, (3, 4, 5), "missing slice near z = 37.5 mm (step of 10 mm where 2.5 mm is usual"),
        (1.0, (3, 4, 5), "missing slice near z = 33.0 mm (step of 4 mm where 1 mm is usual"),
        (6.0, (3,), "missing slice near z = 48.0 mm (step of 12 mm where 6 mm is usual"),
    ],
)
def test_a_gap_of_more_than_three_steps_or_ten_millimetres_is_refused_with_its_place(step, gone, said):
    reason = arrange([one for k, one in enumerate(stack(12, (0, 0, step))) if k not in gone])
    assert isinstance(reason, str)
    assert said in reason
    assert "fetch or export the whole series again" in reason


@pytest.mark.parametrize(("step", "gone"), [(2.5, (3, 4)), (5.0, (3,)), (5.0, (1, 10))])
def test_a_gap_within_both_limits_is_filled(step, gone):
    result = arrange([one for k, one in enumerate(stack(12, (0, 0, step))) if k not in gone])
    assert result.straightening.planes == 12
    assert f"{len(gone)} missing slice" in result.notes[0]


def test_an_even_stack_with_wide_steps_is_no_stack_of_gaps():
    result = arrange(stack(6, (0, 0, 25.0)))
    assert result.straightening is None
    assert result.affine_lps[2, 2] == 25.0


def at_depths(*depths, **changes):
    return [Slice((10.0, -20.0, 30.0 + depth), *_rest(stack(1, **changes)[0])) for depth in depths]


def test_two_kinds_of_steps_come_onto_the_smaller():
    result = arrange(at_depths(*range(0, 30, 3), *range(30, 80, 5)))
    assert result.affine_lps[2, 2] == pytest.approx(3.0)
    assert result.straightening.planes == 26
    np.testing.assert_array_equal(result.straightening.at[:11], range(11))
    assert "uneven slice steps (3 to 5 mm, widest near z = 60.0 mm): resampled to 3 mm" in result.notes[0]


def test_one_displaced_slice_does_not_decide_the_step():
    result = arrange(at_depths(0, 2.5, 5, 7.9, 10, 12.5))
    assert result.affine_lps[2, 2] == pytest.approx(2.5)
    assert result.straightening.planes == 6
    assert result.straightening.at[3] == pytest.approx(3.16)
    assert "uneven slice steps (2.1 to 2.9 mm, widest near z = 35.0 mm)" in result.notes[0]


def test_the_last_plane_is_the_one_nearest_to_the_last_slice():
    for last in np.arange(0.2, 3.0, 0.1):
        result = arrange(at_depths(0, 2, 4, 6, 8, 10, 10 + last))
        if isinstance(result, Arrangement):
            beyond = 2 * (result.straightening.planes - 1) - (10 + last) if result.straightening else 0
            assert abs(beyond) <= 1.0 + 1e-2


@pytest.mark.parametrize("odd", [0.3, 1.2])
def test_slices_of_two_scans_between_each_other_are_refused(odd):
    depths = sorted([*range(0, 60, 5), *(np.arange(0, 60, 5) + odd)])
    reason = arrange(at_depths(*depths))
    assert isinstance(reason, str)
    assert "usual" in reason


def test_one_slice_close_to_another_is_refused_with_its_place():
    reason = arrange(at_depths(0, 5, 10, 15, 15.4, 20, 25, 30))
    assert "uneven slice steps (0.4 to 5 mm, worst near z = 45.4 mm), slices of two scans" in reason


def test_slices_beside_each_other_by_less_than_a_pixel_are_no_duplicates():
    beside = Slice((10.05, -20.0, 35.0), *_rest(stack(1)[0]))
    assert "slices less than 0.01 mm apart near z = 35.0 mm" in arrange([*stack(6), beside])


def test_slices_side_by_side_are_refused():
    assert "side by side" in arrange(stack(5, (3.0, 0.0, 0.0)))
    assert "side by side" in arrange(stack(5, (0.0, 3.0, 1.0)))


def test_slices_at_one_place_are_paired():
    slices = stack(4)
    result = arrange([*slices, slices[2]])
    assert result.duplicates == ((4, 2),)
    assert result.order == (0, 1, 2, 3)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("axis", [0, 1])
def test_gantry_tilt_is_sheared_back_on_a_larger_field_that_holds_every_pixel(axis, sign):
    tilt = np.radians(12.3)
    step = np.zeros(3)
    step[2], step[axis] = 5 * np.cos(tilt), sign * 5 * np.sin(tilt)
    slices = stack(6, step)
    result = arrange(slices)
    assert result.notes == ("gantry tilt of 12.3°: slices sheared back to an upright grid",)
    assert result.tilt_degrees == pytest.approx(12.3)
    np.testing.assert_allclose(result.affine_lps[:3, :3], np.diag([0.6, 0.8, 5 * np.cos(tilt)]), atol=1e-9)
    how, spacing = result.straightening, np.array([0.6, 0.8])
    np.testing.assert_allclose(how.at, range(6))
    for k, one in enumerate(slices):
        first = result.affine_lps @ [*how.shift_ij[k], k, 1]
        np.testing.assert_allclose(first[:3], one.position_mm, atol=1e-6)
        assert (how.shift_ij[k] >= -1e-9).all()
        assert (how.shift_ij[k] + (7, 5) <= np.array(how.size_ij) + 1e-9).all()
    grown = np.array(how.size_ij) - (7, 5)
    assert grown[axis] == np.ceil(5 * 5 * np.sin(tilt) / spacing[axis])
    assert grown[1 - axis] == 0


def test_a_tilt_too_large_for_its_field_is_refused():
    reason = arrange(stack(200, (0, 4.0, 5.0), thickness_mm=5))
    assert "times as large" in reason


@pytest.mark.parametrize("far", [1e6, 1e12, 1e100])
def test_absurd_positions_are_refused_without_being_counted_out(far):
    assert "times as large" in arrange([*stack(1), *stack(2, (far, 0.0, far))[1:]])
    assert isinstance(arrange([*stack(4), *stack(2, (0.0, 0.0, far))[1:]]), str)


def test_a_sideways_jump_is_refused():
    slices = stack(6)
    slices[3] = Slice((13.0, -20.0, 37.5), *_rest(slices[3]))
    assert "shifted sideways by 3 mm near z = 37.5 mm" in arrange(slices)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"row": (0.0, 1.0, 0.0), "column": (0.0, 0.0, -1.0)}, "mixed orientations (1 of 6 slices"),
        ({"row": (-1.0, 0.0, 0.0)}, "mixed orientations"),
        ({"rows": 9}, "slices of different size (5×7, 9×7)"),
        ({"pixel_spacing_mm": (0.8, 0.7)}, "slices of different PixelSpacing"),
        ({"pixel_spacing_mm": (0.8, 0.0)}, "must be positive"),
        ({"row": (2.0, 0.0, 0.0)}, "not two perpendicular unit vectors"),
    ],
)
def test_planes_that_make_no_volume_are_refused(changes, said):
    slices = stack(6)
    slices[5] = stack(6, **changes)[5]
    assert said in arrange(slices)


def test_too_few_slices_are_refused():
    assert "a single slice, at least 16 are needed" in arrange(stack(1), min_slices=16)
    assert "4 slices, at least 16 are needed" in arrange(stack(4), min_slices=16)


def _rest(one: Slice):
    return one.row_direction, one.column_direction, one.pixel_spacing_mm, one.rows, one.columns, one.thickness_mm
