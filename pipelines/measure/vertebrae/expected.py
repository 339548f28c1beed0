"""Heights that a vertebra had before it broke, as far as the intact vertebrae of the same spine tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_GROWTH = (0.03, 0.03)
_WAVE = 0.06
_WAVE_LEVELS = 2.5
_OWN = 0.02


@dataclass(frozen=True)
class Expected:
    """What intact vertebrae say of one.

    Attributes:
        heights_mm: anterior, middle and posterior, (3,).
        error: standard deviation of a body's size against that, as a share, from its place among them alone.
        reference: which they are, by their place in the list.
    """

    heights_mm: FloatArray
    error: float
    reference: tuple[int, ...]


def expected_heights(place: int, heights_mm: FloatArray, intact: npt.NDArray[np.bool_]) -> Expected | None:
    """Kriging along the spine from all intact vertebrae; None where there are none.

    Heights change evenly along a spine, by 3 ± 3 % from a vertebra to the next below (from T1 to L5 in Panjabi et al.,
    Spine 16(8), 1991 and 17(3), 1992), with waves over some levels, such as the lumbar spine's low last body, and each
    body's own deviation of 2 %. The best linear prediction under this model interpolates between near vertebrae
    along a curve and falls back to the growth, not to the line through two, beyond the last.

    Args:
        place: which vertebra.
        heights_mm: anterior, middle and posterior of all, from the highest down, (n, 3).
        intact: which of them may be used, (n,); the vertebra itself never is.
    """
    reference = [int(at) for at in np.flatnonzero(intact) if at != place]
    if not reference:
        return None
    off = np.array(reference, float) - place
    values = heights_mm[reference]
    size = float(values.mean())
    apart = off[:, None] - off[None]
    alike = _WAVE**2 * np.exp(-(apart**2) / (2 * _WAVE_LEVELS**2))
    cov = alike + _GROWTH[1] ** 2 * off[:, None] * off[None] + _OWN**2 * np.eye(len(off))
    to_place = _WAVE**2 * np.exp(-(off**2) / (2 * _WAVE_LEVELS**2))
    # weights that sum to 1 need no mean size
    bordered = np.block([[cov, np.ones((len(off), 1))], [np.ones((1, len(off))), np.zeros((1, 1))]])
    solved = np.linalg.solve(bordered, [*to_place, 1.0])
    weights = solved[:-1]
    variance = _WAVE**2 - float(weights @ to_place) - float(solved[-1]) + _OWN**2
    level = values / size - _GROWTH[0] * off[:, None]
    return Expected(size * (weights @ level), float(np.sqrt(max(variance, 0.0))), tuple(reference))
