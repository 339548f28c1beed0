"""Right and left are where they lie in the patient, whatever way the image is stored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.measure.sides import LEFT, RIGHT, two_sides

RAS = np.diag([2.0, 2, 2, 1])


def two_boxes(one: int = 1, other: int = 1) -> np.ndarray:
    mask = np.zeros((20, 8, 8), np.uint8)
    mask[1:8, 1:6, 1:6] = one
    mask[12:18, 1:6, 1:6] = other  # further to the right in RAS
    return mask


def test_pieces_are_told_apart_by_their_place() -> None:
    told = two_sides(two_boxes(), RAS)
    assert told.map is not None
    assert (told.map[1:8, 1:6, 1:6] == LEFT).all()
    assert (told.map[12:18, 1:6, 1:6] == RIGHT).all()
    assert (told.map > 0).sum() == two_boxes().sum()


@given(st.permutations(range(3)), st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3))
@settings(max_examples=20, deadline=None)
def test_the_order_of_axes_in_the_file_changes_nothing(order: list[int], signs: list[int]) -> None:
    turned = two_boxes().transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) * 2)[:, order] * signs
    told = two_sides(turned, affine)
    assert told.map is not None
    assert ((told.map == RIGHT).sum(), (told.map == LEFT).sum()) == (6 * 25, 7 * 25)


@pytest.mark.parametrize("touching", [False, True])
def test_two_values_are_two_sides_even_where_they_touch(touching: bool) -> None:
    mask = two_boxes(2, 1)
    if touching:
        mask[8:12, 3, 3] = 1
    told = two_sides(mask, RAS)
    assert told.map is not None
    assert ((told.map == RIGHT) == (mask == 1)).all()
    assert ((told.map == LEFT) == (mask == 2)).all()
    assert (told.method, told.warning) == ("by label", "")


def test_labels_that_lie_the_other_way_round_are_warned_of() -> None:
    told = two_sides(two_boxes(1, 2), RAS)
    assert told.map is not None
    assert (told.map[1:8, 1:6, 1:6] == LEFT).all()
    assert "mirrored" in told.warning


def test_a_second_value_inside_a_lung_is_no_second_lung() -> None:
    mask = two_boxes()
    mask[2:7, 2:6, 2:6] = 2
    told = two_sides(mask, RAS)
    assert told.method == "by connected pieces"


def test_lungs_that_touch_and_empty_masks_are_told() -> None:
    joined = two_boxes()
    joined[8:12, 3, 3] = 1
    assert two_sides(joined, RAS).trouble == "the mask hasn't two pieces of comparable size"
    assert two_sides(np.zeros_like(joined), RAS).trouble == "the mask is empty"
