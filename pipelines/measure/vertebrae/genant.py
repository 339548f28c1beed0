"""Genant's type and grade of each vertebra's deformity, against its own posterior height and against its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radseg.transforms.vertebrae.compression import GENANT_LOSS, KINDS, Kind
from radseg.transforms.vertebrae.endplates import Heights

FloatArray = npt.NDArray[np.float64]

_SHAPES: dict[Kind, tuple[float, float, float]] = {
    "wedge": (1.0, 0.5, 0.0),
    "biconcave": (0.0, 1.0, 0.0),
    "crush": (1.0, 1.0, 1.0),
}
_HEIGHT_NOISE = 0.04
_SIZE_NOISE = 0.06
_REACH = 2
_TREND = 5


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

    Expected heights come from the nearest two undeformed vertebrae above and below (see `_expected`). The three
    shares of them that are left are fitted by each of Genant's forms: a wedge, which lost in front and half of that in
    the middle; a biconcave body, which lost in the middle; a crushed one, which lost everywhere. A body may be some per
    cent larger or smaller than its neighbours say, so a wedge or biconcave body is judged by its own posterior height
    too, and a crush by its neighbours alone. The grade is that of the best form's loss, or of a single height's where
    that is greater by more than its uncertainty. Vertebrae that turn out deformed, the worst first, are no reference
    for the others. Without neighbours a body is compared with its own posterior height, and a crush can't be told.

    Args:
        heights: from the highest vertebra to the lowest; None where it can't be measured.
        marked: whether the mask calls it fractured: then it is no reference either.
        uncertainty_mm: of its heights.
    """
    deformed = set[int]()
    while True:
        found = [_graded(place, heights, marked, deformed, uncertainty_mm[place]) for place in range(len(heights))]
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
    place: int, heights: Sequence[Heights | None], marked: Sequence[bool], deformed: set[int], uncertainty_mm: float
) -> Deformity | None:
    measured = heights[place]
    if measured is None:
        return None
    mine = np.array([measured.anterior_mm, measured.middle_mm, measured.posterior_mm])
    own = 1 - float(min(mine[:2])) / float(mine[2])
    others, reference = _expected(place, heights, marked, deformed)
    alone = others is None
    expected = np.full(3, mine[2]) if others is None else others
    left = mine / expected
    kind, loss, size = _best_form(left, alone)
    single = float((1 - (left + uncertainty_mm / expected) / size).max())
    loss = float(np.clip(max(loss, single), 0, 1))
    grade = grade_of(loss)
    if alone:
        return Deformity(kind if grade else None, grade, loss, own, None, None, ())
    front, middle, rear = (float(one) for one in 1 - left)
    return Deformity(
        kind if grade else None, grade, loss, own, (front, middle, rear), Heights(*map(float, expected)), reference
    )


def _expected(
    place: int, heights: Sequence[Heights | None], marked: Sequence[bool], deformed: set[int]
) -> tuple[FloatArray | None, tuple[int, ...]]:
    """Heights (3,) to expect from up to two undeformed vertebrae on both sides, and which they are.

    On both sides: the line through them, near ones counting more. On one side alone: their mean, moved by the growth
    from vertebra to vertebra that the nearest five show, if there are as many; a line through two would double their
    errors.
    """
    sides = []
    for step in (-1, 1):
        places = range(place + step, -1 if step < 0 else len(heights), step)
        sides.append([at for at in places if heights[at] is not None and at not in deformed and not marked[at]])
    used = sorted([*sides[0][:_REACH], *sides[1][:_REACH]])
    if not used:
        return None, ()
    values, off = _table(heights, used), np.array(used, float) - place
    weight = 1 / np.abs(off)
    if not (sides[0] and sides[1]):
        mean = np.average(values, axis=0, weights=weight)
        further = (sides[0] or sides[1])[:_TREND]
        if len(further) == _TREND:
            growth = np.polyfit(np.array(further, float), _table(heights, further), 1)[0]
            mean = mean - growth * float(np.average(off, weights=weight))
        return np.asarray(mean, float), tuple(used)
    terms = np.stack([np.ones_like(off), off], axis=1) * np.sqrt(weight)[:, None]
    fit = np.linalg.lstsq(terms, values * np.sqrt(weight)[:, None], rcond=None)[0]
    return np.asarray(fit[0], float), tuple(used)


def _table(heights: Sequence[Heights | None], places: Sequence[int]) -> FloatArray:
    """Anterior, middle and posterior heights of vertebrae, (n, 3)."""
    rows = [heights[place] for place in places]
    return np.array([[one.anterior_mm, one.middle_mm, one.posterior_mm] for one in rows if one is not None])


def _best_form(left: FloatArray, alone: bool) -> tuple[Kind, float, float]:
    """The form that explains what is left of the heights (3,) best: its name, loss, and the body's relative size.

    For each form the size s and the loss k/s are those of the least squares of s − k · form against what is left, with
    s near 1; without neighbours the size is free, and so can't tell a crush.
    """
    best: tuple[float, Kind, float, float] | None = None
    for kind in KINDS:
        if alone and kind == "crush":
            continue
        terms = np.array(
            [*([1.0, -share] for share in _SHAPES[kind]), [0.0 if alone else _HEIGHT_NOISE / _SIZE_NOISE, 0.0]]
        )
        wanted = np.array([*left, 0.0 if alone else _HEIGHT_NOISE / _SIZE_NOISE])
        size, lost = (float(one) for one in np.linalg.lstsq(terms, wanted, rcond=None)[0])
        size, lost = max(size, 0.1), max(lost, 0.0)
        cost = float(((terms @ [size, lost] - wanted) ** 2).sum())
        if best is None or cost < best[0]:
            best = cost, kind, lost / size, size
    assert best is not None
    return best[1], best[2], best[3]
