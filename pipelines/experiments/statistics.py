"""What folds and paired cases say: mean and spread, intervals of a difference, a signed-rank test, Holm's correction.

Conventions, the same everywhere: an undefined value (``None``) is left out and counted; the spread of a single value
is undefined; nothing here rounds what it returns.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import wilcoxon

RESAMPLES = 10_000
LEVEL = 0.95
_BLOCK = 1 << 20  # draws held at once
_SAME = 12  # decimals; two differences that floating point alone tells apart are a tie


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (divisor n − 1) of the defined values.

    Attributes:
        mean: None without a value.
        sd: None with fewer than two.
        count: how many values were defined.
        undefined: how many were not.
    """

    mean: float | None
    sd: float | None
    count: int
    undefined: int = 0


@dataclass(frozen=True)
class Interval:
    """Ends of a percentile bootstrap interval."""

    low: float
    high: float


@dataclass(frozen=True)
class SignedRank:
    """Answer of Wilcoxon's signed-rank test.

    Attributes:
        p: two-sided; 1 if all differences are 0, None without any pair.
        pairs: how many differences there were.
        nonzero: how many were not 0: only these are ranked.
        smallest: the smallest p that so many differences can give, 2 / 2^nonzero; above .05 with fewer than six, so
            that no result could be called significant.
    """

    p: float | None
    pairs: int
    nonzero: int
    smallest: float | None


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and standard deviation over folds (or whatever the values stand for)."""
    defined = [value for value in values if value is not None]
    return Spread(
        mean=float(np.mean(defined)) if defined else None,
        sd=float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        count=len(defined),
        undefined=len(values) - len(defined),
    )


def paired_bootstrap(
    differences: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Percentile interval of the mean difference, from resampling the pairs with replacement.

    With groups (patients), whole groups are drawn: cases of one patient resemble each other, and drawing them one by
    one would give an interval that is too narrow. Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13;
    of clusters Davison and Hinkley, Bootstrap Methods, 1997, 3.8.

    Args:
        differences: one a pair, (n,).
        groups: of each pair, (n,); None: each pair is its own.
        seed: the same seed, the same interval.
        resamples: how many times n pairs (or as many groups as there are) are drawn.
        level: share of the resampled means inside.

    Returns:
        None if there are fewer than two pairs or groups: one says nothing about spread.
    """
    sums, sizes = _by_group(differences, groups)
    count = len(sums)
    if count < 2:
        return None
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, _BLOCK // count)
    for start in range(0, resamples, block):
        drawn = random.integers(0, count, (min(block, resamples - start), count))
        means[start : start + block] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def signed_rank(differences: Sequence[float], groups: Sequence[Hashable] | None = None) -> SignedRank:
    """Wilcoxon's two-sided signed-rank test of paired differences against 0 (Biometrics Bulletin 1(6), 1945).

    Zero differences are left out, as Wilcoxon did. p is exact for up to 50 differences without ties and 13 with, and
    from the normal approximation corrected for ties beyond. With groups, the mean difference of each group is one pair.

    Args:
        differences: one a pair, (n,).
        groups: of each pair, (n,); None: each pair is its own.
    """
    sums, sizes = _by_group(differences, groups)
    units = np.round(sums / sizes, _SAME)
    nonzero = units[units != 0]
    if not len(nonzero):
        return SignedRank(p=1.0 if len(units) else None, pairs=len(units), nonzero=0, smallest=None)
    # beyond 50, scipy itself turns to the normal approximation
    answer = wilcoxon(nonzero, zero_method="wilcox", alternative="two-sided", method="auto")
    return SignedRank(
        p=float(answer.pvalue), pairs=len(units), nonzero=len(nonzero), smallest=2.0 ** (1 - len(nonzero))
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment for several tests (Scandinavian Journal of Statistics 6(2), 1979).

    The smallest of m values is multiplied by m, the next by m − 1, …; none is below the one before it or above 1.
    Undefined ones stay undefined and don't count as tests.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted


def _by_group(
    differences: Sequence[float], groups: Sequence[Hashable] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum of the differences and their number in each group, groups in the order in which they come."""
    values = np.asarray(differences, np.float64)
    if groups is None:
        return values, np.ones(len(values))
    places: dict[Hashable, int] = {}
    of_group = [places.setdefault(group, len(places)) for group in groups]
    if len(of_group) != len(values):
        raise ValueError(f"{len(values)} differences, {len(of_group)} groups: give one group a difference")
    sums = np.bincount(of_group, values, len(places))
    sizes = np.bincount(of_group, minlength=len(places))
    return sums.astype(np.float64), sizes.astype(np.float64)
