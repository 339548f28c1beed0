"""The height of a vertebral body, read from a label map whichever way it lies."""

import numpy as np
import pytest
from numbered_spine import DISC, HALF_DEPTH, HALF_WIDTH, HEIGHT, cylinders

from radseg.transforms.vertebrae import Heights, vertebral_heights
from radseg.transforms.vertebrae.axis import neighbours, place
from radseg.transforms.vertebrae.endplates import Body, find_body


def found(labels: np.ndarray, affine: np.ndarray, vertebra: int) -> Body:
    placed, others = place(labels, affine, vertebra)
    return find_body(labels, affine, placed, *neighbours(placed, others))


def close(heights: Heights, wanted: float, within: float) -> bool:
    return all(abs(one - wanted) < within for one in vars(heights).values())


def test_a_body_s_outline_and_heights_are_found_within_a_voxel() -> None:
    spine = cylinders()
    for vertebra in range(101, 106):
        body = found(spine.labels, spine.affine, vertebra)
        assert close(body.heights, HEIGHT, 1.5)
        assert abs(body.half_width_mm - HALF_WIDTH) < 1.5
        assert abs(body.half_depth_mm - HALF_DEPTH) < 1.5
        middle = (vertebra - 101) * (HEIGHT + DISC) + HEIGHT / 2 + 12.0
        assert abs(body.frame.origin_mm[2] - middle) < 1.5


def test_the_frame_looks_up_the_spine_and_to_the_front() -> None:
    frame = found(cylinders().labels, cylinders().affine, 103).frame
    assert frame.axes[2] @ [0, 0, 1] > 0.995
    assert frame.axes[1] @ [0, 1, 0] > 0.995
    np.testing.assert_allclose(np.cross(frame.axes[1], frame.axes[2]), frame.axes[0], atol=1e-9)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(), (0, 2), (1,)])
def test_an_array_s_orientation_makes_no_difference(order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    spine = cylinders()
    axes = np.eye(4)[:, [*order, 3]]
    labels, affine = spine.labels.transpose(order), spine.affine @ axes
    for axis in flips:
        turned = np.eye(4)
        turned[axis, axis], turned[axis, 3] = -1, labels.shape[axis] - 1
        labels, affine = np.flip(labels, axis), affine @ turned
    np.testing.assert_allclose(
        list(vars(vertebral_heights(labels, affine, 103)).values()),
        list(vars(vertebral_heights(spine.labels, spine.affine, 103)).values()),
        atol=0.3,
    )


@pytest.mark.parametrize("tilt_degrees", [-30.0, 20.0, 45.0])
def test_a_slanted_spine_is_measured_along_itself(tilt_degrees: float) -> None:
    spine, angle = cylinders(), np.deg2rad(tilt_degrees)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert close(vertebral_heights(spine.labels, tilt @ spine.affine, 103), HEIGHT, 1.5)


def test_a_vertebra_alone_is_measured_too() -> None:
    spine = cylinders()
    alone = np.where(spine.labels == 103, spine.labels, 0)
    assert close(vertebral_heights(alone, spine.affine, 103), HEIGHT, 1.5)


def test_bodies_without_arches_face_the_patient_s_front() -> None:
    spine = cylinders()
    labels = spine.labels.copy()
    labels[:, : round((70 - HALF_DEPTH) / 1.5)] = 0
    assert found(labels, spine.affine, 103).frame.axes[1] @ [0, 1, 0] > 0.99


@pytest.mark.parametrize(("rows", "cut"), [(4, False), (7, False), (9, True), (14, True)])
def test_a_body_that_the_image_s_edge_cuts_is_told(rows: int, cut: bool) -> None:
    spine = cylinders()
    affine = spine.affine.copy()
    affine[2, 3] = rows * 1.5
    # the lowest body starts eight slices above the edge
    assert found(spine.labels[:, :, rows:], affine, 101).cut is cut


def test_what_isn_t_there_or_has_no_body_is_refused() -> None:
    spine = cylinders()
    with pytest.raises(ValueError, match="holds no vertebra 9"):
        vertebral_heights(spine.labels, spine.affine, 9)
    labels = spine.labels.copy()
    labels[labels == 103] = 0
    labels[20:24, 40:44, 40:60] = 103
    with pytest.raises(ValueError, match="no body"):
        vertebral_heights(labels, spine.affine, 103)
