"""How far two ways of measuring agree: bias and limits of agreement after Bland and Altman, with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

FEWEST = 3
"""Pairs below which nothing is said: two always have differences whose spread is anybody's guess."""

_WITHIN = 1.96  # standard deviations that hold 95 % of normally distributed differences
_LEVEL = 0.95

Ends = tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """Differences prediction − truth, all in the unit of what was compared.

    Attributes:
        pairs: how many were compared.
        bias: mean difference.
        sd: standard deviation of the differences, divisor n − 1.
        lower: lower limit of agreement, bias − 1.96 sd.
        upper: upper limit, bias + 1.96 sd.
        bias_interval: 95 % confidence interval of the bias.
        lower_interval: of the lower limit.
        upper_interval: of the upper limit.
    """

    pairs: int
    bias: float
    sd: float
    lower: float
    upper: float
    bias_interval: Ends
    lower_interval: Ends
    upper_interval: Ends


def agreement(truth: Sequence[float], prediction: Sequence[float]) -> Agreement | None:
    """Bias and 95 % limits of agreement of paired sizes.

    The limits are those of Bland and Altman, Lancet 327, 1986 (with 1.96 for their rounded 2). The variance of the bias
    is s²/n and that of a limit s² (1/n + 1.96²/(2(n − 1))), as in Bland and Altman, Statistical Methods in Medical
    Research 8, 1999, section 2; intervals take Student's t with n − 1 degrees of freedom. All of it supposes pairs that
    don't depend on each other, so one a patient, and differences that are about normal and don't grow with the size:
    see that in the plot.

    Args:
        truth: (n,).
        prediction: (n,), in the same unit.

    Returns:
        None of fewer than three pairs.

    Raises:
        ValueError: the lengths differ, or a number isn't finite.
    """
    if len(truth) != len(prediction):
        raise ValueError(f"{len(truth)} sizes of the truth, {len(prediction)} of the prediction: give pairs")
    differences = np.subtract(prediction, truth)
    if not np.isfinite(differences).all():
        raise ValueError("a size isn't finite; leave cases of unknown size out")
    pairs = len(differences)
    if pairs < FEWEST:
        return None
    bias, sd = float(np.mean(differences)), float(np.std(differences, ddof=1))
    quantile = float(student.ppf((1 + _LEVEL) / 2, pairs - 1))
    of_bias = quantile * sd / math.sqrt(pairs)
    of_limit = quantile * sd * math.sqrt(1 / pairs + _WITHIN**2 / (2 * (pairs - 1)))
    lower, upper = bias - _WITHIN * sd, bias + _WITHIN * sd
    return Agreement(
        pairs=pairs,
        bias=bias,
        sd=sd,
        lower=lower,
        upper=upper,
        bias_interval=(bias - of_bias, bias + of_bias),
        lower_interval=(lower - of_limit, lower + of_limit),
        upper_interval=(upper - of_limit, upper + of_limit),
    )
