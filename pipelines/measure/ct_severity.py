"""The 25-point CT severity score of the lungs."""

from collections.abc import Sequence


def lobe_points(share: float) -> int:
    """Points of one lobe by the share of it that is involved.

    0 none; 1 less than 5 %; 2 up to 25 %; 3 less than 50 %; 4 up to 75 %; 5 more: Pan et al., Radiology 2020;
    295:715–721, after Chang et al., Radiology 2005; 236:1067–1075. There readers estimate whole percents (26–49 %);
    here the share is measured, so what lies between 25 and 26 or 49 and 50 % has 3 points too.

    Args:
        share: 0–1.

    Raises:
        ValueError: no share.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share is 0 to 1, not {share}")
    if share == 0:
        return 0
    if share < 0.05:
        return 1
    if share <= 0.25:
        return 2
    if share < 0.5:
        return 3
    return 4 if share <= 0.75 else 5


def severity_score(shares: Sequence[float]) -> int:
    """The sum over the five lobes, 0–25.

    Raises:
        ValueError: not five shares.
    """
    if len(shares) != 5:
        raise ValueError(f"the score takes five lobes, not {len(shares)}")
    return sum(map(lobe_points, shares))
