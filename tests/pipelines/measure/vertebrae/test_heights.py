"""Heights in mm along a vertebra's own axis, how sure they are, and why there is none."""

import numpy as np
import pytest
from numbered_spine import HEIGHT, cylinders

from radseg.pipelines.measure.vertebrae import MeasuredBody, measured_bodies, split_vertebrae
from radseg.pipelines.measure.vertebrae.heights import grid_uncertainty_mm


def measured(labels: np.ndarray, affine: np.ndarray) -> list[MeasuredBody]:
    found = split_vertebrae((labels > 0).astype(np.uint8), affine)
    return measured_bodies(found.numbers, affine, found.count)


def worst(bodies: list[MeasuredBody]) -> float:
    assert all(one.body is not None for one in bodies)
    return max(
        abs(height - HEIGHT) for one in bodies if one.body is not None for height in vars(one.body.heights).values()
    )


def test_heights_are_right_within_what_the_grid_can_tell() -> None:
    spine = cylinders(4, 1.0)
    bodies = measured(spine.labels, spine.affine)
    assert len(bodies) == 4
    assert worst(bodies) < 1.0
    assert bodies[0].uncertainty_mm == pytest.approx(1.96 / np.sqrt(6), rel=0.02)


def test_the_error_of_5_mm_slices_is_within_the_stated_uncertainty() -> None:
    spine = cylinders(5, 1.0)
    errors = []
    for first in range(5):
        thick = spine.labels[:, :, first::5]
        affine = spine.affine @ np.diag([1, 1, 5.0, 1])
        affine[2, 3] += first
        for one in measured(thick, affine):
            assert one.body is not None
            assert one.uncertainty_mm == pytest.approx(4.0, abs=0.1)
            errors += [abs(height - HEIGHT) <= one.uncertainty_mm for height in vars(one.body.heights).values()]
    assert np.mean(errors) >= 0.95


def test_a_mask_made_on_a_coarser_grid_is_no_surer_for_being_stored_finely() -> None:
    up = np.array([0.0, 0.0, 1.0])
    fine = grid_uncertainty_mm(np.diag([0.7, 0.7, 0.7, 1]), up, 0.0)
    assert grid_uncertainty_mm(np.diag([0.7, 0.7, 0.7, 1]), up, 1.4) == pytest.approx(2 * fine)


def test_a_body_that_the_edge_cuts_has_no_height_and_the_others_have() -> None:
    spine = cylinders()
    affine = spine.affine.copy()
    affine[2, 3] = 18.0
    bodies = measured(spine.labels[:, :, 12:], affine)
    assert [one.body is None for one in bodies] == [False, False, False, False, True]
    assert bodies[-1].trouble == "the edge of the field of view cuts its body off"
    assert bodies[-1].at_edge


def test_a_cut_arch_leaves_the_body_its_heights() -> None:
    spine = cylinders()
    affine = spine.affine.copy()
    affine[1, 3] = 30.0
    bodies = measured(spine.labels[:, 20 + 4 :], affine)
    assert all(one.at_edge for one in bodies)
    assert worst(bodies) < 1.5


def test_what_is_too_small_or_has_no_body_says_so() -> None:
    numbers = np.zeros((40, 40, 60), np.int16)
    numbers[18:22, 18:22, 40:44] = 101
    numbers[2:38, 18:22, 5:30] = 102
    small, flat = measured_bodies(numbers, np.eye(4), 2)
    assert small.body is None
    assert small.trouble == "too small for a vertebra (0.1 ml)"
    assert flat.body is None
    assert flat.trouble == "its body can't be told from its arch"


def test_two_vertebrae_under_one_number_are_not_measured_as_one() -> None:
    spine = cylinders(6)
    numbers = np.where(spine.labels > 0, 207 - spine.labels.astype(np.int16), 0)
    numbers[numbers == 104] = 103
    numbers[numbers > 104] -= 1
    bodies = measured_bodies(numbers, spine.affine, 5)
    assert bodies[2].body is None
    assert bodies[2].trouble is not None
    assert "two vertebrae may be joined" in bodies[2].trouble
    assert all(one.body is not None for place, one in enumerate(bodies) if place != 2)
