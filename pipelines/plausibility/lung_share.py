"""Whether a CT shows a chest: whether there are lungs in the body."""

import numpy as np

from radseg.pipelines.engine.locate.lungs import air_of_lungs
from radseg.pipelines.plausibility.seen import Seen

_NONE = 0.01


class LungShare:
    """Flags a CT without lungs, such as of a head, an abdomen or a lumbar spine.

    What counts is air inside the body that isn't gas of the bowel, in pieces of 20 ml or more, as a share of the body
    with all that is inside it. Chests at hand have 15–27 %; lungs emptied by pneumonia were not at hand, and half as
    much is left in them at a guess. Abdomens with the bases of the lungs and spines at hand have 0–9 %, heads none. A
    scan of the whole trunk has less than a chest, but litres of lung.

    Args:
        least_share: of the body.
        least_litres: with so much lung the share doesn't matter.
    """

    ends = False

    def __init__(self, least_share: float = 0.05, least_litres: float = 1.5) -> None:
        self.least_share = least_share
        self.least_litres = least_litres

    def __call__(self, image: Seen) -> str | None:
        """The sentence; see `Check`."""
        if image.scan is None or image.body is None or image.body.region is None:
            return None
        lungs, _ = air_of_lungs(image.scan)
        voxels = int(lungs.sum())
        share = voxels / max(1, int(image.body.region.mask.sum()))
        litres = voxels * float(np.prod(image.scan.spacing_mm)) * 1e-6
        if share >= self.least_share or litres >= self.least_litres:
            return None
        found = "no lungs" if share < _NONE else "hardly any lung"
        return f"this doesn't look like a chest: {found} found (air inside the body {share:.1%}, a chest has 15–60 %)"
