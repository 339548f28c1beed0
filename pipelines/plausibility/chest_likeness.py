"""How much a radiograph looks like a frontal chest: two dark upright fields beside a bright middle."""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from radseg.pipelines.plausibility.seen import Seen

Array = npt.NDArray[np.float32]

_SIDE = 64
_BLUR = 1.5
_FIELD = (0.15, 0.36)  # half width and half height of a lung field, of the chest's
_APART = 0.26  # from the middle to a field's
_MIDDLE = (0.06, 0.6)  # of spine and heart between the fields: half width, and how bright, a field being 1 dark
_SCALES = (0.7, 0.85, 1.0)  # of the chest in the picture
_SHAPES = (0.85, 1.0, 1.2)  # width over height


class ChestLikeness:
    """Flags by the best correlation with a drawn pair of lung fields, wherever and however large they are.

    Of 75 frontal chest X-rays at hand, many with dense lungs, all correlate by 0.31 or more, half by more than 0.65; of
    6 infants' and 11 simulated pelves all by 0.16 or less (without the bright middle: 0.25 and 0.20). The template was
    drawn with these images in view, and no real pelvis of an adult was. A photo or a CT slice may correlate as well:
    this check can't tell them.

    Args:
        least: for a bundle that takes chests.
        most: for a bundle that takes something else.
    """

    ends = False

    def __init__(self, least: float = -1.0, most: float = 1.0) -> None:
        self.least = least
        self.most = most

    def __call__(self, image: Seen) -> str | None:
        """The sentence; see `Check`."""
        if image.picture is None:
            return None
        likeness = chest_likeness(image.picture)
        if likeness < self.least:
            told = f"no pair of dark lung fields (likeness {likeness:.2f}, a chest has {self.least:.2f} or more)"
            return f"this doesn't look like a frontal chest X-ray: {told}; another part of the body?"
        if likeness > self.most:
            return f"this looks like a chest: a pair of dark lung fields (likeness {likeness:.2f})"
        return None


def chest_likeness(picture: npt.NDArray[np.uint8]) -> float:
    """Largest correlation of a picture (64, 64) with the template, −1…1.

    Grey values are equalised first, since films differ in nothing as much as in contrast.
    """
    equalised = cv2.GaussianBlur(cv2.equalizeHist(picture).astype(np.float32), (0, 0), _BLUR)
    return max(float(cv2.matchTemplate(equalised, template, cv2.TM_CCOEFF_NORMED).max()) for template in _templates())


@cache
def _templates() -> tuple[Array, ...]:
    row, column = np.mgrid[:_SIDE, :_SIDE] / (_SIDE - 1) - 0.5
    fields = np.zeros((_SIDE, _SIDE), np.float32)
    for side in (-1, 1):
        fields -= np.clip(1.3 - ((column - side * _APART) / _FIELD[0]) ** 2 - (row / _FIELD[1]) ** 2, 0, 1)
    fields += _MIDDLE[1] * np.exp(-((column / _MIDDLE[0]) ** 2))
    sizes = [
        (int(_SIDE * scale * min(1.0, shape)), int(_SIDE * scale * min(1.0, 1 / shape)))
        for scale in _SCALES
        for shape in _SHAPES
    ]
    return tuple(cv2.resize(fields, size, interpolation=cv2.INTER_AREA) for size in sizes)
