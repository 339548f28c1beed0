"""What `evaluate` records of each case's truth and prediction, as pairs of sizes in one unit."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from radseg.pipelines.report.results import AMOUNTS

_UNITS = {"volume_ml": ("ml", 1.0), "area_mm2": ("cm²", 0.01), "share_of_image": ("% of the image", 100.0)}
"""Of each known amount: the unit that is shown, and what it is multiplied with."""

Amounts = Mapping[str, float]
"""What is known of a label in a case by name, such as `{"volume_ml": 12.5}`."""


@dataclass(frozen=True)
class Pairs:
    """Sizes of a label in truth and prediction.

    Attributes:
        name: what was compared, of `AMOUNTS`.
        unit: of all sizes.
        pairs: truth and prediction, one a case, cases of which both are empty left out.
        empty: cases left out since both are empty: they agree, whatever a label's size elsewhere.
        unknown: cases left out since their size isn't known in this unit.
    """

    name: str
    unit: str
    pairs: tuple[tuple[float, float], ...]
    empty: int = 0
    unknown: int = 0

    @property
    def left_out(self) -> str:
        """What was left out in words, "" if nothing."""
        empty = f"{self.empty} empty in both left out" if self.empty else ""
        unknown = f"{self.unknown} of unknown size left out" if self.unknown else ""
        return ", ".join(part for part in (empty, unknown) if part)


def pairs_of(cases: Iterable[tuple[Amounts, Amounts]], name: str | None = None) -> Pairs | None:
    """Pairs in the unit in which most cases are known: ml, then cm², then per cent of the image.

    Args:
        cases: what is known of the truth and of the prediction, one a case.
        name: what is compared, of `AMOUNTS`, if that is settled.

    Returns:
        None if no case has a size of both.
    """
    rows = list(cases)
    known = {name: sum(_has(truth, name) and _has(prediction, name) for truth, prediction in rows) for name in AMOUNTS}
    name = max(AMOUNTS, key=lambda one: known[one]) if name is None else name
    if not known[name]:
        return None
    unit, factor = _UNITS[name]
    found = [
        (truth[name] * factor, prediction[name] * factor)
        for truth, prediction in rows
        if _has(truth, name) and _has(prediction, name)
    ]
    kept = tuple((truth, prediction) for truth, prediction in found if truth or prediction)
    return Pairs(name=name, unit=unit, pairs=kept, empty=len(found) - len(kept), unknown=len(rows) - len(found))


def _has(amounts: Amounts, name: str) -> bool:
    value = amounts.get(name)
    return isinstance(value, int | float) and math.isfinite(value)
