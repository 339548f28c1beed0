"""Genant's type and grade of each vertebra's deformity, against its own posterior height and against its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radseg.pipelines.measure.vertebrae.expected import expected_heights
from radseg.transforms.vertebrae.compression import GENANT_LOSS, Kind
from radseg.transforms.vertebrae.endplates import Heights

FloatArray = npt.NDArray[np.float64]

_SHAPES: dict[Kind, tuple[float, float, float]] = {
    "wedge": (1.0, 0.5, 0.0),
    "biconcave": (0.0, 1.0, 0.0),
    "crush": (1.0, 1.0, 1.0),
}
_HEIGHT_NOISE = 0.04


@dataclass(frozen=True)
class Deformity:
    """What a body has lost.

    Attributes:
        kind: wedge, biconcave or crush; None for grade 0.
        grade: Genant's: 0 under 20 % lost, 1 from 20, 2 from 25, 3 from 40 %.
        loss: share of the height lost in the form that fits best, 0 to 1.
        of_own: share that the lower of the anterior and middle height lacks to the body's own posterior height; below 0
            where it is higher.
        of_neighbours: shares that the anterior, middle and posterior height lack to those expected from the neighbours;
            None without neighbours.
        expected: those heights in mm; None without neighbours.
        reference: which vertebrae they come from, by their place in the list.
    """

    kind: Kind | None
    grade: int
    loss: float
    of_own: float
    of_neighbours: tuple[float, float, float] | None
    expected: Heights | None
    reference: tuple[int, ...]


def deformities(
    heights: Sequence[Heights | None], marked: Sequence[bool], uncertainty_mm: Sequence[float]
) -> list[Deformity | None]:
    """Grade the vertebrae of a spine (Genant et al., J Bone Miner Res 8(9), 1993).

    Expected heights come from the undeformed vertebrae of the spine (see `expected_heights`). The three shares of them
    that are left are fitted by each of Genant's forms: a wedge, which lost in front and half of that in the middle; a
    biconcave body, which lost in the middle; a crushed one, which lost everywhere. A body may be some per cent larger
    or smaller than the others say, at the end of the field more than between them, so a wedge or biconcave body is
    judged by its own posterior height too, and a crush by the others alone. The grade is that of the best form's
    loss, or of a single height's where that is greater by more than its uncertainty. Vertebrae that turn out deformed,
    the worst first, are no reference for the others. Without others a body is compared with its own posterior height,
    and a crush can't be told.

    Args:
        heights: from the highest vertebra to the lowest; None where it can't be measured.
        marked: whether the mask calls it fractured: then it is no reference either.
        uncertainty_mm: of its heights.
    """
    table = np.array([[np.nan] * 3 if one is None else list(vars(one).values()) for one in heights])
    usable = np.array([one is not None for one in heights], bool) & ~np.array(marked, bool)
    deformed = set[int]()
    while True:
        intact = usable.copy()
        intact[list(deformed)] = False
        found = [_graded(place, table, intact, uncertainty_mm[place]) for place in range(len(heights))]
        losses = {
            place: one.loss
            for place, one in enumerate(found)
            if one is not None and one.grade and place not in deformed
        }
        if not losses:
            return found
        deformed.add(max(losses, key=lambda place: losses[place]))


def grade_of(loss: float) -> int:
    """Genant's grade of a share of height lost."""
    return max((grade for grade, (least, _) in GENANT_LOSS.items() if loss >= least), default=0)


def _graded(
    place: int, heights_mm: FloatArray, intact: npt.NDArray[np.bool_], uncertainty_mm: float
) -> Deformity | None:
    mine = heights_mm[place]
    if np.isnan(mine[0]):
        return None
    own = 1 - float(min(mine[:2])) / float(mine[2])
    others = expected_heights(place, heights_mm, intact)
    expected = np.full(3, mine[2]) if others is None else others.heights_mm
    left = mine / expected
    kind, loss, size = best_form(left, None if others is None else others.error)
    single = float((1 - (left + uncertainty_mm / expected) / size).max())
    loss = float(np.clip(max(loss, single), 0, 1))
    grade = grade_of(loss)
    if others is None:
        return Deformity(kind if grade else None, grade, loss, own, None, None, ())
    front, middle, rear = (float(one) for one in 1 - left)
    return Deformity(
        kind if grade else None,
        grade,
        loss,
        own,
        (front, middle, rear),
        Heights(*map(float, expected)),
        others.reference,
    )


def best_form(left: FloatArray, size_error: float | None) -> tuple[Kind, float, float]:
    """The form that explains what is left of the heights (3,) best: its name, loss, and the body's relative size.

    For each form the size s and the loss k/s are those of the least squares of s − k · form against what is left, with
    s near 1 by its error.

    Args:
        left: shares that are left of the expected anterior, middle and posterior height, (3,).
        size_error: standard deviation of the body's size against the expected one, as a share; None where nothing is
            expected: then the size is free, and so can't tell a crush.
    """
    known = 0.0 if size_error is None else 1 / (1 + (size_error / _HEIGHT_NOISE) ** 2)
    best: tuple[float, Kind, float, float] | None = None
    for kind, form in _SHAPES.items():
        if size_error is None and kind == "crush":
            continue
        # the normal equations of [1, −form] and, with its weight, of s = 1
        ones, cross, squares = 3 + known, -sum(form), sum(share * share for share in form)
        to_ones = float(left.sum()) + known
        to_form = -sum(share * float(one) for share, one in zip(form, left, strict=True))
        determinant = ones * squares - cross * cross
        size = max((to_ones * squares - cross * to_form) / determinant, 0.1)
        lost = max((ones * to_form - cross * to_ones) / determinant, 0.0)
        apart = [size - share * lost - float(one) for share, one in zip(form, left, strict=True)]
        cost = sum(one * one for one in apart) + known * (size - 1) ** 2
        if best is None or cost < best[0]:
            best = cost, kind, lost / size, size
    assert best is not None
    return best[1], best[2], best[3]
