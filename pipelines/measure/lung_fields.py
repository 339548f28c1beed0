"""The lung fields of a frontal chest radiograph: how large, left against right, and the heart between them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io import Volume
from radseg.pipelines.measure.cardiothoracic import cardiothoracic_ratio
from radseg.pipelines.measure.displayed import displayed, pixel_cm2
from radseg.pipelines.measure.field_of_view import cut_at, cut_off
from radseg.pipelines.measure.measurement import Measurement, as_rows
from radseg.pipelines.measure.sides import LEFT, RIGHT, two_sides
from radseg.pipelines.measure.volumes import LabelVolumes

_PLAUSIBLE_SHARE = (0.05, 0.75)  # of the image; 75 real radiographs had .14 to .56
_LEAST_OTHER = 0.25  # of the larger field; a smaller one is not all there
_SIDES = {"right": RIGHT, "left": LEFT}


class LungFields:
    """Areas as `LabelVolumes`, the share of each lung in both fields together, and measurements of the fields.

    The two largest pieces of the mask are the lungs; the one further to the patient's right is the right one, and every
    smaller piece belongs to the nearer of the two. A mask of two values is taken as labelled (`two_sides`). Left and
    right are those of the image as a frontal radiograph is displayed, patient's right at the left, unless the DICOM
    header says that it is mirrored. With fewer than two pieces of at least a tenth of the whole, one lung may be
    missing or both may touch: then no share is given, but a warning.

    `measurements` hold the areas of the projected fields in cm² (in % of the image where nobody says how large a pixel
    is; a detector's spacing isn't corrected for magnification), left over right, and the cardiothoracic ratio
    (`cardiothoracic_ratio`, with its limits). A field that the image's edge cuts off has no area, and none of what
    needs both.

    Args:
        labels: names of the labels; all of them together are the lungs.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.areas = LabelVolumes(labels)

    def __call__(self, mask: npt.NDArray[np.uint8], volume: Volume, case: str) -> dict[str, Any]:
        """Statistics of one mask; the arguments are those of `LabelVolumes`.

        Raises:
            InputError: more than one slice.
        """
        displayed(mask, volume, case)
        statistics = self.areas(mask, volume, case)
        told = two_sides(mask, volume.affine_ras)
        if told.map is None:
            warning = f"left and right lung can't be told apart: {told.trouble}"
            rows = [_area("both lungs", mask > 0, volume), *_without_sides(warning)]
            return {**statistics, "measurements": as_rows(rows), "warnings": [warning]}
        fields = {name: told.map == value for name, value in _SIDES.items()}
        count = {name: int(np.count_nonzero(field)) for name, field in fields.items()}
        share = count["right"] / (count["right"] + count["left"])
        lungs = {"right": {"share_of_lungs": round(share, 4)}, "left": {"share_of_lungs": round(1 - share, 4)}}
        cut = [cut_off(f"{name} lung", sides) for name, field in fields.items() if (sides := cut_at(field, volume))]
        warnings = [*cut, *([told.warning] if told.warning else []), *_implausible(count, mask.size)]
        rows = [_area("both lungs", told.map > 0, volume, "; ".join(cut))]
        rows += [_area(f"{name} lung", field, volume) for name, field in fields.items()]
        rows += _of_both(fields, count, volume, case, "; ".join((*cut, *_implausible(count, mask.size))))
        measured = {**statistics, "lungs": lungs, "measurements": as_rows(rows)}
        return {**measured, **({"warnings": warnings} if warnings else {})}


def _area(of: str, field: npt.NDArray[np.bool_], volume: Volume, trouble: str = "") -> Measurement:
    pixels = int(np.count_nonzero(field))
    pixel = pixel_cm2(volume)
    name, unit = ("area", "cm2") if pixel is not None else ("share of the image", "%")
    method = "pixels times their size" if pixel is not None else "pixels over all; no pixel size"
    sides = cut_at(field, volume)
    trouble = trouble or (cut_off(of, sides) if sides else "")
    amount = pixels * pixel if pixel is not None else 100 * pixels / field.size
    return Measurement(name, None if trouble else amount, unit, of, method, warning=trouble or None)


def _implausible(count: dict[str, int], pixels: int) -> list[str]:
    share = sum(count.values()) / pixels
    low, high = _PLAUSIBLE_SHARE
    said = [] if low <= share <= high else [f"implausible lung fields: {share:.0%} of the image"]
    smaller, larger = sorted(count, key=lambda name: count[name])
    if count[smaller] < _LEAST_OTHER * count[larger]:
        said.append(f"the {smaller} lung field is much smaller than the {larger} one")
    return said


def _of_both(
    fields: dict[str, npt.NDArray[np.bool_]], count: dict[str, int], volume: Volume, case: str, trouble: str
) -> Iterator[Measurement]:
    if trouble:
        yield from _without_sides(trouble)
        return
    yield _ratio(count["left"] / count["right"], None)
    right, left = (displayed(fields[name], volume, case) for name in ("right", "left"))
    found = cardiothoracic_ratio(right, left)
    yield _cardiothoracic(found.ratio, found.trouble or None)


def _without_sides(trouble: str) -> Iterator[Measurement]:
    yield _ratio(None, trouble)
    yield _cardiothoracic(None, trouble)


def _ratio(value: float | None, warning: str | None) -> Measurement:
    return Measurement("left to right area", value, "1", "both lungs", "area over area", warning=warning)


def _cardiothoracic(value: float | None, warning: str | None) -> Measurement:
    method = "widest heart between the fields over widest thorax inside them; holds for PA views"
    return Measurement("cardiothoracic ratio", value, "1", "heart", method, warning=warning)
