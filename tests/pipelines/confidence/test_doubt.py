"""What the page of a case shows as uncertainty, whatever was kept of the network's answer."""

import numpy as np
import pytest

from radseg.pipelines.confidence import doubt_of
from radseg.pipelines.engine import Effort, Prediction

MASK = np.zeros((4, 4, 2), np.uint8)
MASK[1:3, 1:3] = 1
SOME = np.full(MASK.shape, 51, np.uint8)


def effort(members: int) -> Effort:
    return Effort("torch", "exact", members, 1, 1)


def test_several_answers_are_doubted_everywhere() -> None:
    doubt = doubt_of(Prediction(MASK, {}, effort(4), uncertainty=SOME, entropy=MASK))
    assert doubt is not None
    assert np.array_equal(doubt.values, SOME)
    assert doubt.said.startswith("Of 4 answers: entropy")
    disagreement = doubt_of(Prediction(MASK, {}, effort(4), uncertainty=SOME, measure="disagreement"))
    assert disagreement is not None
    assert "disagree" in disagreement.said


def test_a_single_answer_s_entropy_is_shown_where_it_is_right() -> None:
    doubt = doubt_of(Prediction(MASK, {}, effort(1), entropy=SOME))
    assert doubt is not None
    assert np.array_equal(doubt.values > 0, MASK > 0)
    assert "inside the labels" in doubt.said


def test_a_kept_probability_is_doubted_everywhere() -> None:
    probability = np.array([0, 128, 255, 228], np.uint8).reshape(1, 4, 1, 1)
    doubt = doubt_of(Prediction(np.ones((4, 1, 1), np.uint8), {}, effort(1), probability=probability))
    assert doubt is not None
    assert doubt.values.ravel() / 255 == pytest.approx([0, 1, 0, 0.487], abs=0.005)


def test_nothing_kept_is_nothing_known() -> None:
    assert doubt_of(Prediction(MASK, {}, effort(1))) is None
