"""One displacement field: heights fall as asked, nothing folds, neighbours keep their form."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numbered_spine import HEIGHT, NumberedSpine, anatomical, counted_heights, cylinders

from radseg.transforms.vertebrae import vertebral_heights
from radseg.transforms.vertebrae.compression import KINDS, Compression, Kind
from radseg.transforms.vertebrae.endplates import Heights
from radseg.transforms.vertebrae.squeeze import Moved, carry, carry_labels, keep_whole, move, plan

FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def squeezed(spine: NumberedSpine, vertebra: int, kind: Kind, loss: float) -> tuple[Compression, Moved, np.ndarray]:
    compression = plan(spine.labels, spine.affine, vertebra, kind, loss)
    moved = move(compression, spine.affine, spine.labels.shape)
    labels = spine.labels.copy()
    labels[moved.box] = carry_labels(labels[moved.box], moved, spine.affine)
    return compression, moved, labels


def wanted(before: Heights, kind: Kind, loss: float) -> Heights:
    front, middle, rear = vars(before).values()
    if kind == "wedge":
        return Heights(front * (1 - loss), middle - loss * front / 2, rear)
    if kind == "biconcave":
        return Heights(front, middle * (1 - loss), rear)
    return Heights(*(one * (1 - loss) for one in (front, middle, rear)))


def counted(labels: np.ndarray, vertebra: int, front_mm: float) -> float:
    """A cylinder's height in mm by counting, a distance in front of its middle; nothing of the transform's own."""
    columns = labels[23:28, round((70 + front_mm) / 1.5 - 0.5)] == vertebra
    return float(columns.sum(axis=1).mean()) * 1.5


@FEW
@given(
    kind=st.sampled_from(KINDS), loss=st.floats(0.2, 0.6), vertebra=st.sampled_from([102, 103, 104]), more=st.booleans()
)
def test_heights_of_a_cylinder_fall_as_asked_by_counting_voxels(
    kind: Kind, loss: float, vertebra: int, more: bool
) -> None:
    spine = cylinders(5, margin_mm=30.0 if more else 12.0)
    _, _, labels = squeezed(spine, vertebra, kind, loss)
    front, middle, rear = (counted(labels, vertebra, at) for at in (12.0, 0.0, -12.0))
    goal = wanted(Heights(HEIGHT, HEIGHT, HEIGHT), kind, loss)
    # a slanted endplate's height along k is that along the body's own axis but for the cosine of at most 14 degrees
    tilt = 0.03 * HEIGHT if kind == "wedge" else 0.0
    assert abs(front - goal.anterior_mm) < 1.5 + tilt
    assert abs(middle - goal.middle_mm) < 1.5 + tilt
    # the rim of a biconcave body sinks by a twentieth of what the middle does
    assert abs(rear - goal.posterior_mm) < 1.5 + tilt


@FEW
@given(kind=st.sampled_from(KINDS), loss=st.floats(0.2, 0.6), vertebra=st.sampled_from([120, 121, 122]))
def test_heights_of_an_anatomical_vertebra_fall_as_asked(kind: Kind, loss: float, vertebra: int) -> None:
    spine = anatomical()
    compression, _, labels = squeezed(spine, vertebra, kind, loss)
    before, after = (counted_heights(one, spine.affine, vertebra, compression.body) for one in (spine.labels, labels))
    pairs = zip(vars(after).values(), vars(wanted(before, kind, loss)).values(), strict=True)
    off = [abs(one - other) for one, other in pairs]
    # voxels of 1.5 mm: each of two endplates is known to half of one, before as after
    assert max(off) < 3.0
    assert np.mean(off) < 1.5


@FEW
@given(kind=st.sampled_from(KINDS), loss=st.floats(0.0, 0.6), vertebra=st.sampled_from([120, 122]), small=st.booleans())
def test_the_field_never_folds(kind: Kind, loss: float, vertebra: int, small: bool) -> None:
    spine = anatomical()
    if small:  # the vertebra alone, the image ending close to it
        where = np.argwhere(spine.labels == vertebra)
        low, high = max(int(where[:, 2].min()) - 6, 0), int(where[:, 2].max()) + 7
        shift = np.eye(4)
        shift[2, 3] = low
        spine = NumberedSpine(spine.image[..., low:high], spine.labels[..., low:high], spine.affine @ shift)
    moved = squeezed(spine, vertebra, kind, loss)[1]
    assert moved.volume_ratio().min() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_keep_their_heights_and_their_volume(kind: Kind) -> None:
    spine = cylinders(5, margin_mm=30.0)
    labels = squeezed(spine, 103, kind, 0.5)[2]
    for neighbour in (102, 104):
        before = vertebral_heights(spine.labels, spine.affine, neighbour)
        after = vertebral_heights(labels, spine.affine, neighbour)
        for one, other in zip(vars(before).values(), vars(after).values(), strict=True):
            assert abs(one - other) < 1.5
        assert (labels == neighbour).sum() > 0.95 * (spine.labels == neighbour).sum()


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_come_along_and_discs_stay_between(kind: Kind) -> None:
    spine = cylinders(5, margin_mm=30.0)
    labels = squeezed(spine, 103, kind, 0.4)[2]
    column = labels[25, round(70 / 1.5)]
    order = column[np.flatnonzero(np.diff(column, prepend=0))]
    assert [number for number in order if number] == [101, 102, 103, 104, 105]
    assert all(one == 0 or other == 0 for one, other in pairwise(order))
    gap = np.flatnonzero(column == 104).min() - np.flatnonzero(column == 102).max()
    before = spine.labels[25, round(70 / 1.5)]
    gap_before = np.flatnonzero(before == 104).min() - np.flatnonzero(before == 102).max()
    share = {"wedge": 0.35, "biconcave": 0.0, "crush": 1.0}[kind]
    assert abs((gap_before - gap) * 1.5 - share * 0.4 * HEIGHT) < 3.0


def test_a_wedge_turns_the_neighbours_towards_each_other_in_front() -> None:
    spine = cylinders(5, margin_mm=30.0)
    labels = squeezed(spine, 103, "wedge", 0.5)[2]
    for neighbour, falls in ((104, 1), (102, -1)):
        where = np.argwhere(labels[23:28] == neighbour)
        front, rear = (where[np.abs(where[:, 1] * 1.5 - 70 - at) < 2][:, 2].mean() for at in (10.0, -10.0))
        assert falls * (rear - front) * 1.5 > 0.5


def test_no_loss_moves_nothing() -> None:
    spine = cylinders()
    for kind in KINDS:
        _, moved, labels = squeezed(spine, 103, kind, 0.0)
        assert np.abs(moved.steps).max() < 1e-5
        assert np.array_equal(labels, spine.labels)
        assert np.array_equal(carry(spine.image[moved.box], moved, spine.affine), spine.image[moved.box])


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_s_edges_and_what_lies_far_off_stay_still(kind: Kind) -> None:
    spine = cylinders(9)
    moved = squeezed(spine, 105, kind, 0.6)[1]
    everywhere = np.zeros((3, *spine.labels.shape), np.float32)
    everywhere[(slice(None), *moved.box)] = moved.steps
    assert np.abs(everywhere[..., [0, -1]]).max() < 1e-3
    # 150 mm from the fracture
    assert np.abs(everywhere[..., :4]).max() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_image_moves_nothing_in_from_beyond_its_edges(kind: Kind) -> None:
    spine = cylinders(3)
    moved = squeezed(spine, 102, kind, 0.6)[1]
    assert moved.box[2] == slice(0, spine.labels.shape[2])
    assert np.abs(moved.steps[..., [0, -1]]).max() < 1e-3


def test_a_vertebra_too_near_the_edge_to_lose_so_much_is_refused() -> None:
    spine = cylinders(1, margin_mm=6.0)
    with pytest.raises(ValueError, match="too near the image's edge to lose 60%"):
        plan(spine.labels, spine.affine, 101, "crush", 0.6)
    _, moved, labels = squeezed(spine, 101, "crush", 0.25)
    assert moved.volume_ratio().min() > 0.05
    assert abs(counted(labels, 101, 0.0) - 0.75 * HEIGHT) < 1.5


def test_a_biconcave_body_sinks_less_from_the_side_that_has_less_room() -> None:
    spine = cylinders(1, margin_mm=30.0)
    rows, shift = 16, np.eye(4)  # 6 mm are left below
    shift[2, 3] = rows
    near = NumberedSpine(spine.image[..., rows:], spine.labels[..., rows:], spine.affine @ shift)
    _, moved, labels = squeezed(near, 101, "biconcave", 0.5)
    before, after = (np.flatnonzero(one[25, round(70 / 1.5)]) for one in (near.labels, labels))
    risen, fallen = after.min() - before.min(), before.max() - after.max()
    assert fallen > 2 * risen
    assert abs((risen + fallen) * 1.5 - 0.5 * HEIGHT) < 1.6
    assert moved.volume_ratio().min() > 0.05


def test_voxels_that_a_move_parts_from_a_vertebra_are_not_its_any_more() -> None:
    before = np.zeros((9, 9, 9), np.uint8)
    before[1:4], before[6:8], before[8] = 7, 9, 7  # a vertebra whose arch the label map shows apart
    after = before.copy()
    after[5, 4, 4] = 7
    keep_whole(after, 7, before)
    assert np.array_equal(after, before)
