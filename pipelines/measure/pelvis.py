"""The pelvis in a frontal radiograph: how large, how symmetrical, how tilted in the image."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io import Volume
from radseg.pipelines.measure.displayed import displayed, pixel_cm2
from radseg.pipelines.measure.field_of_view import cut_at, cut_off
from radseg.pipelines.measure.measurement import Measurement, as_rows
from radseg.pipelines.measure.mirror_axis import mirror_axis
from radseg.pipelines.measure.volumes import LabelVolumes

# simulated X-rays of six whole pelvises, turned by up to 8°, had .87 and 1.3 or more; their halves .77 and 1.05 or less
_LEAST_OVERLAP = 0.8  # with the mirror image
_LEAST_WIDTH = 1.1  # over the height
_TILT_ERROR_DEGREES = 2.5
_AXIS = "mirror axis"


class PelvisSymmetry:
    """Areas as `LabelVolumes`, and measurements of the pelvis about the axis of its best mirror symmetry.

    - area of the projection in cm², or in % of the image where nobody says how large a pixel is;
    - symmetry: Dice of the mask with its mirror image about that axis (`mirror_axis`), 1 for a perfect one. Rotation
      about the long axis lowers it as an asymmetrical pelvis does;
    - left over right: area of the halves to either side of the axis;
    - tilt of the axis from the image's columns in degrees, positive where the patient's right side stands higher. In
      simulated X-rays of six pelvises it followed a known turn within 1.5° but for one pelvis that lay turned by 2.4°
      itself. It isn't the tilt of the teardrop line: teardrops are landmarks inside the bone's shadow, of which the
      outline of the pelvic region shows nothing.

    A pelvis that the image's edge cuts off, or whose halves hardly match, has a warning for these numbers.

    Args:
        labels: names of the labels; all of them together are the pelvis.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.areas = LabelVolumes(labels)

    def __call__(self, mask: npt.NDArray[np.uint8], volume: Volume, case: str) -> dict[str, Any]:
        """Statistics of one mask; the arguments are those of `LabelVolumes`.

        Raises:
            InputError: more than one slice.
        """
        bone = mask > 0
        shown = displayed(bone, volume, case)
        sides = cut_at(bone, volume)
        trouble = "the mask is empty" if not bone.any() else cut_off("pelvis", sides) if sides else ""
        rows = [_area(bone, volume, trouble if sides else "")]
        if trouble:
            rows += _about_axis(None, None, None, trouble)
        else:
            axis = mirror_axis(shown, volume.spacing_mm[1] / volume.spacing_mm[0])
            left = np.count_nonzero(shown & axis.beyond(shown.shape))
            right = np.count_nonzero(shown) - left
            if axis.overlap < _LEAST_OVERLAP or axis.width_over_height(shown) < _LEAST_WIDTH or not right:
                trouble = f"no whole pelvis in a frontal view: too narrow, or uneven (Dice {axis.overlap:.2f})"
                rows += _about_axis(None, None, None, trouble)
            else:
                rows += _about_axis(axis.overlap, left / right, axis.tilt_degrees, None)
        warnings = {"warnings": [trouble]} if trouble else {}
        return {**self.areas(mask, volume, case), "measurements": as_rows(rows), **warnings}


def _area(bone: npt.NDArray[np.bool_], volume: Volume, trouble: str) -> Measurement:
    pixels, pixel = int(np.count_nonzero(bone)), pixel_cm2(volume)
    name, unit = ("area", "cm2") if pixel is not None else ("share of the image", "%")
    method = "pixels times their size" if pixel is not None else "pixels over all; no pixel size"
    amount = pixels * pixel if pixel is not None else 100 * pixels / bone.size
    return Measurement(name, None if trouble else amount, unit, "pelvis", method, warning=trouble or None)


def _about_axis(
    overlap: float | None, left_to_right: float | None, tilt: float | None, trouble: str | None
) -> Iterator[Measurement]:
    yield Measurement("symmetry", overlap, "1", "pelvis", "Dice with the mirror image", warning=trouble)
    yield Measurement("left to right area", left_to_right, "1", "pelvis", f"halves beside the {_AXIS}", warning=trouble)
    error = None if tilt is None else _TILT_ERROR_DEGREES
    method = "against the image's columns; right side higher is positive"
    yield Measurement(f"tilt of the {_AXIS}", tilt, "deg", "pelvis", method, uncertainty=error, warning=trouble)
