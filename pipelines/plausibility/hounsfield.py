"""Whether the values of a CT are Hounsfield units."""

import numpy as np
import numpy.typing as npt

from radseg.pipelines.plausibility.seen import Seen

_AIR_HU = -900.0
_NO_AIR_HU = -200.0
_SOFT_HU = (-200.0, 250.0)
_LEAST_SOFT = 0.1  # of what isn't air; chests have .6 and more, metal and contrast take away little
_NARROW_HU = 300.0  # lung, fat, muscle and bone span 1,000 and more
_OFFSET_HU = (850.0, 1250.0)  # where water and muscle lie when 1024 wasn't subtracted
_MOST_OFFSET = 0.2


class HounsfieldUnits:
    """Flags values that can't be HU: label maps, greys of a picture, MR, stored values without their rescaling.

    Air is −1000 and water 0 by definition, and everything in a body but bone lies between −200 and 250 or is full of
    air. A field of view inside the body may hold no air at all, so its absence alone says nothing.
    """

    ends = True

    def __call__(self, image: Seen) -> str | None:
        """The sentence; see `Check`."""
        if image.scan is None:
            return None
        hu = image.scan.hu
        low, high = (float(value) for value in np.percentile(hu, (0.1, 99.9)))
        held = f"values lie between {low:.0f} and {high:.0f}"
        if low > _NO_AIR_HU and high - low < _NARROW_HU:
            return f"the values don't look like HU: 99.8 % of the {held}; a mask, a picture, or MR?"
        dense = hu[hu > _AIR_HU]
        if not dense.size:
            return None  # nothing but air: the check of the body says so
        if low > _NO_AIR_HU and _share(dense, *_OFFSET_HU) > _MOST_OFFSET:
            share = _share(dense, *_OFFSET_HU)
            return (
                f"the values don't look like HU: {share:.0%} lie about 1024, as if RescaleIntercept had been left out"
            )
        soft = _share(dense, *_SOFT_HU)
        if soft < _LEAST_SOFT:
            return (
                f"the values don't look like HU: {soft:.1%} of what isn't air is soft tissue (−200 to 250 HU); {held}"
            )
        return None


def _share(values: npt.NDArray[np.float32], low: float, high: float) -> float:
    return float(((values > low) & (values < high)).mean())
