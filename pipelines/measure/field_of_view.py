"""Where the edge of an image cuts a region off."""

from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io import Volume
from radseg.transforms.slabs import count_planes

_CUT = 0.05  # of the region's largest section: less at the edge of the image is where it ends anyway
_IN_PATIENT = (("left", "right"), ("back", "front"), ("bottom", "top"))
_IN_PICTURE = (("left edge", "right edge"), ("top edge", "bottom edge"))


def cut_at(region: npt.NDArray[Any], volume: Volume) -> list[str]:
    """The sides at which the field of view cuts a region off, as a reader would say them.

    A region is cut off where its section with the image's first or last plane is more than a twentieth of its largest
    section with such planes.

    Args:
        region: (i, j, k), anything but 0 counts.
        volume: the image on whose grid it lies; of a picture or radiograph the edges are meant as stored.
    """
    sides = []
    for axis, counts in enumerate(count_planes(region)):
        if len(counts) == 1:
            continue
        if volume.is_picture:
            first, last = _IN_PICTURE[axis]
        else:
            along = volume.affine_ras[:3, axis]
            which = int(np.abs(along).argmax())
            first, last = _IN_PATIENT[which][:: 1 if along[which] > 0 else -1]
        sides += [side for side, count in ((first, counts[0]), (last, counts[-1])) if count > _CUT * counts.max()]
    return sides


def cut_off(name: str, sides: list[str]) -> str:
    """The warning of a region that is cut off."""
    return f"the field of view cuts the {name} off at the {' and the '.join(sides)}"
