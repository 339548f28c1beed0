"""Points of lobes, at the edges of each class, and their sum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radseg.pipelines.measure.ct_severity import lobe_points, severity_score


@pytest.mark.parametrize(
    ("share", "points"),
    [(0, 0), (1e-6, 1), (0.0499, 1), (0.05, 2), (0.25, 2), (0.2501, 3), (0.26, 3), (0.4999, 3), (0.5, 4), (0.75, 4),
     (0.7501, 5), (1, 5)],
)  # fmt: skip
def test_the_classes_are_the_published_ones(share: float, points: int) -> None:
    assert lobe_points(share) == points


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_the_score_is_from_0_to_25(shares: list[float]) -> None:
    assert 0 <= severity_score(shares) <= 25
    assert severity_score(sorted(shares)) == severity_score(shares)


def test_what_is_no_share_or_not_five_lobes_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        lobe_points(5)
    with pytest.raises(ValueError, match="five lobes"):
        severity_score([0.1] * 4)
    assert severity_score([1.0] * 5) == 25
