"""The cardiothoracic ratio of a frontal chest radiograph, from its two lung fields alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_HEART_FROM = 0.5  # of the way from the apices to the lower cardiophrenic angle; hila and great vessels lie above
_LEAST_CORNER = 0.04  # depth of the cardiophrenic angle over its chord; less is no corner
_PLAUSIBLE = (0.35, 0.75)
_NOTCH = 0.04  # of the field's height: what is shorter on the inner border is a vessel, not the heart
_BEHIND_HEART = "the fields reach behind the heart, or one is incomplete"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cardiothoracic:
    """What the ratio is made of, in pixels of the displayed image.

    Attributes:
        ratio: heart over thorax, None where `trouble` says why it can't be measured.
        heart_from, heart_to: columns of the heart's right and left border.
        thorax_from, thorax_to: columns of the fields' outer borders in the widest row.
        thorax_row: that row.
        trouble: why there is no ratio, else "".
    """

    ratio: float | None
    heart_from: int = 0
    heart_to: int = 0
    thorax_from: int = 0
    thorax_to: int = 0
    thorax_row: int = 0
    trouble: str = ""


def cardiothoracic_ratio(right: Mask, left: Mask) -> Cardiothoracic:
    """Widest transverse extent of the heart over the widest inner width of the thorax (Danzer, Am J Med Sci 1919).

    The heart's two borders are the fields' inner borders where they lie furthest out, each at its own height, between
    half the way down from the apices and the field's cardiophrenic angle (lung fields instead of a heart mask: Dallal
    et al., Proc SPIE 2017; Yang et al., Front Physiol 2024, doi 10.3389/fphys.2024.1416912). That angle is the point
    of the field's lower inner outline furthest from the line between its inner border at half height and its lowest
    outer point.

    It holds for upright PA views in inspiration; in AP and supine ones the heart is magnified by a tenth or more. It
    needs fields that end at the heart. Masks that hold the lung behind the heart too have no heart border: they give
    ratios below .35, which no adult heart has, and so get no number. Nor can effusion or a field that ends early be
    told from a large heart.

    Args:
        right: the patient's right lung field, (row, column) as displayed: rows to the feet, columns to the left.
        left: the left one.
    """
    sides = [_Field.of(right[:, ::-1]), _Field.of(left)]  # both with their inner border at low columns
    if any(side is None for side in sides):
        return Cardiothoracic(None, trouble="a lung field is missing")
    right_field, left_field = (side for side in sides if side is not None)
    both = right.any(axis=1) & left.any(axis=1)
    if not both.any():
        return Cardiothoracic(None, trouble="the lung fields lie at different heights")
    corners = [right_field.cardiophrenic(), left_field.cardiophrenic()]
    if any(corner is None for corner in corners):
        return Cardiothoracic(None, trouble="the heart's border can't be told from the diaphragm's")
    rows = [corner for corner in corners if corner is not None]
    top = min(right_field.top, left_field.top)
    start = top + round(_HEART_FROM * (max(rows) - top))
    if min(rows) <= start:
        return Cardiothoracic(None, trouble=_BEHIND_HEART)
    last = right.shape[1] - 1
    heart_from = last - right_field.furthest(start, rows[0]) + 1
    heart_to = left_field.furthest(start, rows[1]) - 1
    outer = np.where(both, left_field.outer - (last - right_field.outer) + 1, 0)
    row = int(outer.argmax())
    ratio = (heart_to - heart_from + 1) / float(outer[row])
    found = Cardiothoracic(
        ratio, heart_from, heart_to, last - int(right_field.outer[row]), int(left_field.outer[row]), row
    )
    if ratio < _PLAUSIBLE[0]:
        return Cardiothoracic(None, trouble=f"{ratio:.2f} is too small for a heart: {_BEHIND_HEART}")
    if ratio > _PLAUSIBLE[1]:
        return Cardiothoracic(None, trouble=f"{ratio:.2f} is too large for a heart: a field is incomplete")
    return found


@dataclass(frozen=True, eq=False)
class _Field:
    """The largest piece of a lung field whose inner border is at low columns.

    Attributes:
        inner, outer: first and last column of each row, the inner border without notches.
        lowest: last row of each column, -1 where there is none.
        top, bottom: first and last row.
    """

    inner: npt.NDArray[np.intp]
    outer: npt.NDArray[np.intp]
    lowest: npt.NDArray[np.intp]
    top: int
    bottom: int

    @classmethod
    def of(cls, whole: Mask) -> "_Field | None":
        pieces, count = ndimage.label(whole)
        if not count:
            return None
        field = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
        rows = np.flatnonzero(field.any(axis=1))
        columns = field.any(axis=0)
        lowest = np.where(columns, len(field) - 1 - field[::-1].argmax(axis=0), -1)
        outer = field.shape[1] - 1 - field[:, ::-1].argmax(axis=1)
        inner = field.argmax(axis=1)
        held = slice(int(rows[0]), int(rows[-1]) + 1)
        inner[held] = ndimage.median_filter(inner[held], 2 * round(_NOTCH * len(rows) / 2) + 1, mode="nearest")
        return cls(inner, outer, lowest, held.start, held.stop - 1)

    def cardiophrenic(self) -> int | None:
        """Row of the cardiophrenic angle, None where the lower outline has no such corner."""
        middle = (self.top + self.bottom) // 2
        held = np.flatnonzero(self.lowest >= 0)
        outer_half = held[held >= held.mean()]
        tip = int(outer_half[self.lowest[outer_half].argmax()])
        chord = np.array([tip - self.inner[middle], self.lowest[tip] - middle], float)
        columns = np.flatnonzero((self.lowest >= middle) & (np.arange(len(self.lowest)) < tip))
        if not len(columns):
            return None
        rows = self.lowest[columns]
        below = chord[0] * (rows - middle) - chord[1] * (columns - self.inner[middle])
        best = int(below.argmax())
        if below[best] < _LEAST_CORNER * float(chord @ chord):
            return None
        return int(rows[best])

    def furthest(self, start: int, stop: int) -> int:
        """The inner border's outermost column between two rows."""
        return int(self.inner[start : stop + 1].max())
