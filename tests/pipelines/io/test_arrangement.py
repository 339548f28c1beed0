"""Slices in space, without files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.io.arrangement import Arrangement, Slice, arrange


def stack(count: int = 5, step=(0.0, 0.0, 2.5), row=(1.0, 0.0, 0.0), column=(0.0, 1.0, 0.0), **changes):
    fields = {"pixel_spacing_mm": (0.8, 0.6), "rows": 5, "columns": 7, "thickness_mm": 3.0} | changes
    origin = np.array([10.0, -20.0, 30.0])
    return [Slice(tuple(origin + k * np.array(step)), row, column, **fields) for k in range(count)]


@st.composite
def frames(draw):
    """Two perpendicular unit vectors in any direction."""
    quaternion = np.array(draw(st.lists(st.floats(-1, 1), min_size=4, max_size=4)))
    if np.linalg.norm(quaternion) < 0.1:
        quaternion = np.array([1.0, 0.0, 0.0, 0.0])
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    row = (1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w))
    column = (2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w))
    return row, column


@settings(deadline=None, max_examples=60)
@given(frames(), st.permutations(range(6)), st.floats(0.3, 8.0))
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
def test_a_missing_slice_is_found_wherever_it_is(count, data):
    gone = data.draw(st.integers(1, count - 2))
    slices = [one for k, one in enumerate(stack(count)) if k != gone]
    reason = arrange(slices)
    assert isinstance(reason, str)
    assert f"missing slice near z = {30 + 2.5 * gone:.1f} mm" in reason


@pytest.mark.parametrize("gone", [1, 2])
def test_of_three_slices_a_gap_is_seen(gone):
    assert "missing slice" in arrange([one for k, one in enumerate(stack(4)) if k != gone])


def test_uneven_steps_name_the_place():
    slices = stack(6)
    slices[3] = Slice((10.0, -20.0, 30 + 3 * 2.5 + 0.4), *_rest(slices[3]))
    reason = arrange(slices)
    assert "uneven slice steps (2.1 to 2.9 mm" in reason
    assert "z = 37.9 mm" in reason


def test_slices_at_one_place_are_paired():
    slices = stack(4)
    result = arrange([*slices, slices[2]])
    assert result.duplicates == ((4, 2),)
    assert result.order == (0, 1, 2, 3)


def test_gantry_tilt_is_refused_with_its_angle():
    tilt = np.radians(12.3)
    reason = arrange(stack(6, (0, 5 * np.sin(tilt), 5 * np.cos(tilt))))
    assert "gantry tilt of 12.3°" in reason


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
