"""Heights that no vertebra has give a warning and no grade; those of vertebrae, broken or not, give one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numbered_spine import cylinders

from radseg.pipelines.io import Volume
from radseg.pipelines.measure.vertebrae import (
    MeasuredBody,
    VertebraMeasures,
    measured_bodies,
    plausible_deformities,
    shape_doubt,
    split_vertebrae,
)
from radseg.transforms.vertebrae.endplates import Body, Heights

UNCERTAIN_MM = 0.8


@pytest.fixture(scope="module")
def measured() -> MeasuredBody:
    """An intact body of 26 mm, 30 mm deep."""
    spine = cylinders(3)
    found = split_vertebrae((spine.labels > 0).astype(np.uint8), spine.affine)
    return measured_bodies(found.numbers, spine.affine, found.count)[1]


def with_heights(measured: MeasuredBody, anterior: float, middle: float, posterior: float) -> MeasuredBody:
    assert measured.body is not None
    body = replace(measured.body, heights=Heights(anterior, middle, posterior))
    return replace(measured, body=body, uncertainty_mm=UNCERTAIN_MM)


def body_of(measured: MeasuredBody) -> Body:
    assert measured.body is not None
    return measured.body


@pytest.mark.parametrize(
    ("heights", "why"),
    [
        ((19.7, 36.7, 30.9), "37 mm in the middle, above 20 mm in front and 31 mm behind"),
        ((30.9, 36.7, 19.7), "37 mm in the middle"),
        ((14.0, 32.9, 12.7), "33 mm in the middle"),
        ((26.4, 19.8, 15.6), "26 mm in front and 20 mm in the middle of 16 mm behind"),
        ((19.9, 21.4, 14.5), "21 mm in the middle of 14 mm behind"),
        ((48.0, 46.0, 47.0), "two vertebrae may be joined"),
    ],
)
def test_a_form_that_no_vertebra_has_is_doubted(
    heights: tuple[float, float, float], why: str, measured: MeasuredBody
) -> None:
    said = shape_doubt(body_of(with_heights(measured, *heights)), UNCERTAIN_MM)
    assert said is not None
    assert said.startswith("implausible: ")
    assert why in said


@pytest.mark.parametrize(
    "heights",
    [
        (26.0, 25.0, 26.0),  # intact
        (8.0, 17.0, 26.0),  # a deep wedge
        (25.0, 8.0, 25.0),  # a deep biconcave fracture
        (9.0, 9.0, 10.0),  # a crush
        (29.0, 26.0, 24.0),  # L5, wedged to the back
        (17.4, 11.8, 12.8),  # a crush with some of its front left
    ],
)
def test_intact_and_broken_vertebrae_are_not_doubted(
    heights: tuple[float, float, float], measured: MeasuredBody
) -> None:
    assert shape_doubt(body_of(with_heights(measured, *heights)), UNCERTAIN_MM) is None


def test_a_coarse_grid_s_error_is_allowed_for(measured: MeasuredBody) -> None:
    body = body_of(with_heights(measured, 20.0, 24.0, 20.0))
    assert shape_doubt(body, 0.8) is not None
    assert shape_doubt(body, 4.0) is None


def test_an_implausible_body_has_no_grade_and_is_no_reference_for_the_others(measured: MeasuredBody) -> None:
    spine = [with_heights(measured, 25, 24, 25) for _ in range(5)]
    spine[2] = with_heights(measured, 19.7, 36.7, 30.9)
    graded, doubts = plausible_deformities(spine, [False] * 5)
    assert graded[2] is None
    assert [doubt is None for doubt in doubts] == [True, True, False, True, True]
    for place in (0, 1, 3, 4):
        one = graded[place]
        assert one is not None
        assert one.grade == 0
        assert 2 not in one.reference


def test_a_body_far_higher_than_the_others_has_no_grade_and_the_others_have(measured: MeasuredBody) -> None:
    spine = [with_heights(measured, 22, 21, 22) for _ in range(5)]
    spine[3] = with_heights(measured, 33, 32, 34)
    graded, doubts = plausible_deformities(spine, [False] * 5)
    assert graded[3] is None
    assert doubts[3] is not None
    assert "over 30 % higher than the other vertebrae say" in doubts[3]
    assert all(one is not None and one.grade == 0 and 3 not in one.reference for one in graded if one is not None)
    assert sum(one is None for one in graded) == 1


def test_fractures_keep_their_grades_beside_implausible_bodies(measured: MeasuredBody) -> None:
    spine = [with_heights(measured, 25, 24, 25) for _ in range(6)]
    spine[1] = with_heights(measured, 13, 19, 25)
    spine[4] = with_heights(measured, 14.0, 32.9, 12.7)
    graded, _ = plausible_deformities(spine, [False] * 6)
    assert graded[1] is not None
    assert (graded[1].kind, graded[1].grade) == ("wedge", 3)
    assert graded[4] is None


def row(statistics: dict[str, Any], name: str, of: str) -> dict[str, Any]:
    (found,) = (one for one in statistics["measurements"] if one["name"] == name and one.get("of") == of)
    return dict(found)


def test_two_vertebrae_joined_in_a_mask_of_their_own_are_told_of_and_not_graded() -> None:
    spine = cylinders(4)
    joined = np.zeros(spine.labels.shape, np.uint8)
    # a body of 40 mm, as two low thoracic ones with their disc, and 30 mm deep
    inside = np.flatnonzero((spine.labels > 0).any(axis=(0, 1)))
    low = int(inside[0]) + 8
    outline = spine.labels[:, :, low] > 0
    joined[:, :, low : low + round(40 / 1.5)] = outline[..., None]
    volume = Volume(np.zeros(joined.shape, np.float32), spine.affine, "label")
    statistics = VertebraMeasures(["vertebra"])(joined, volume, "case")
    grade = row(statistics, "Genant grade", "vertebra 1")
    assert grade["value"] is None
    assert "two vertebrae may be joined" in grade["warning"]
    assert any("two vertebrae may be joined" in warning for warning in statistics["warnings"])


def test_the_numbers_of_a_bulging_mask_are_shown_with_a_warning_and_without_a_grade() -> None:
    spine = cylinders()
    mask = (spine.labels > 0).astype(np.uint8)
    # the middle of the third body bulges 3 mm into each disc
    k = np.flatnonzero((spine.labels == 103).any(axis=(0, 1)))
    x, y = np.arange(mask.shape[0])[:, None] * 1.5 + 0.75 - 38, np.arange(mask.shape[1])[None] * 1.5 + 0.75 - 70
    middle = (np.abs(x) < 12) & (np.abs(y) < 7)
    mask[middle, k[0] - 2 : k[0]] = 1
    mask[middle, k[-1] + 1 : k[-1] + 3] = 1
    volume = Volume(np.zeros(mask.shape, np.float32), spine.affine, "label")
    statistics = VertebraMeasures(["vertebra"])(mask, volume, "case")
    height, grade = (row(statistics, name, "vertebra 3") for name in ("middle height", "Genant grade"))
    assert height["value"] > 30
    assert "the mask bulges" in height["warning"]
    assert grade["value"] is None
    (said,) = (one for one in statistics["warnings"] if one.startswith("vertebra 3"))
    assert said.startswith("vertebra 3 has no grade: implausible: ")
    assert row(statistics, "Genant grade", "vertebra 2")["value"] == 0
