"""Genant's type and grade from heights: the worst form counts, and what is normal stays grade 0."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.measure.vertebrae.genant import Deformity, deformities, grade_of
from radseg.transforms.vertebrae.compression import KINDS, Kind
from radseg.transforms.vertebrae.endplates import Heights

FORMS = {"wedge": (1, 0.5, 0), "biconcave": (0, 1, 0), "crush": (1, 1, 1)}


def spine(count: int = 7) -> list[Heights]:
    """Bodies that grow by half a millimetre from one to the next, concave as real ones are."""
    return [Heights(20 + 0.5 * n, 19 + 0.5 * n, 21.5 + 0.5 * n) for n in range(count)]


def broken(heights: Heights, kind: str, loss: float) -> Heights:
    values = (heights.anterior_mm, heights.middle_mm, heights.posterior_mm)
    return Heights(*(value * (1 - loss * share) for value, share in zip(values, FORMS[kind], strict=True)))


def graded(heights: list[Heights | None], marked: list[bool] | None = None) -> list[Deformity | None]:
    return deformities(heights, marked or [False] * len(heights), [1.0] * len(heights))


@pytest.mark.parametrize(
    ("loss", "grade"), [(0, 0), (0.199, 0), (0.2, 1), (0.249, 1), (0.25, 2), (0.399, 2), (0.4, 3), (0.9, 3)]
)
def test_the_limits_of_the_grades_are_genant_s(loss: float, grade: int) -> None:
    assert grade_of(loss) == grade


def test_an_intact_spine_has_no_deformity() -> None:
    for one in graded([*spine()]):
        assert one is not None
        assert one.kind is None
        assert one.grade == 0
        assert one.loss < 0.1


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.floats(0.21, 0.59), st.integers(1, 5))
def test_form_and_loss_are_found_wherever_the_fracture_is(kind: Kind, loss: float, place: int) -> None:
    heights = spine()
    heights[place] = broken(heights[place], kind, loss)
    found = graded([*heights])
    one = found[place]
    assert one is not None
    assert one.kind == kind
    assert one.loss == pytest.approx(loss, abs=0.02)
    assert all(other is not None and other.grade == 0 for at, other in enumerate(found) if at != place)


@settings(deadline=None)
@given(st.floats(0.5, 2.0), st.sampled_from(KINDS))
def test_the_size_of_the_patient_makes_no_difference(size: float, kind: Kind) -> None:
    heights = spine()
    heights[3] = broken(heights[3], kind, 0.33)
    larger = [Heights(*(size * value for value in vars(one).values())) for one in heights]
    one, other = (deformities([*each], [False] * 7, [0.0] * 7)[3] for each in (heights, larger))
    assert one is not None
    assert other is not None
    assert (one.kind, one.grade) == (other.kind, other.grade)
    assert one.loss == pytest.approx(other.loss)


def test_broken_neighbours_are_no_reference_whether_marked_or_not() -> None:
    heights = spine()
    for place in (2, 3, 4):
        heights[place] = broken(heights[place], "crush", 0.45)
    for marked in ([False] * 7, [place in (2, 3, 4) for place in range(7)]):
        found = graded([*heights], marked)
        assert [one.grade for one in found if one is not None] == [0, 0, 3, 3, 3, 0, 0]
        assert found[3] is not None
        assert set(found[3].reference) == {0, 1, 5, 6}


def test_the_loss_against_the_own_posterior_height_and_the_neighbours_are_given() -> None:
    heights = spine()
    heights[3] = Heights(10.75, 15.0, 21.5)
    one = graded([*heights])[3]
    assert one is not None
    assert one.of_own == pytest.approx(0.5)
    assert one.expected is not None
    assert one.expected.anterior_mm == pytest.approx(21.5)
    assert one.of_neighbours is not None
    assert one.of_neighbours[0] == pytest.approx(0.5)


def test_a_wedge_deeper_in_front_than_a_form_says_gets_the_grade_of_its_front() -> None:
    heights = spine()
    heights[3] = Heights(8.0, 20.5, 23.0)
    one = graded([*heights])[3]
    assert one is not None
    assert (one.kind, one.grade) == ("wedge", 3)


def test_alone_a_body_is_compared_with_its_own_posterior_height() -> None:
    one = graded([Heights(12.0, 18.0, 24.0)])[0]
    assert one is not None
    assert (one.kind, one.grade) == ("wedge", 3)
    assert one.of_neighbours is None
    assert one.reference == ()


def test_what_has_no_heights_has_no_grade_and_is_no_reference() -> None:
    heights: list[Heights | None] = [*spine()]
    heights[2] = heights[4] = None
    found = graded(heights)
    assert found[2] is None
    assert found[3] is not None
    assert set(found[3].reference) == {0, 1, 5, 6}
    assert graded([None, None]) == [None, None]
    assert graded([]) == []


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(3.0, 45.0)] * 3), min_size=1, max_size=8), st.floats(0, 5))
def test_any_heights_give_finite_numbers(values: list[tuple[float, float, float]], uncertainty: float) -> None:
    heights = [Heights(*one) for one in values]
    for one in deformities([*heights], [False] * len(heights), [uncertainty] * len(heights)):
        assert one is not None
        assert 0 <= one.loss <= 1
        assert np.isfinite(one.of_own)
        assert (one.kind is None) == (one.grade == 0)
