"""Whether there is a patient in a CT."""

from radseg.pipelines.plausibility.seen import Seen


class Body:
    """Flags a CT of which the body takes too small a share.

    Chests, abdomens and spines take 40–100 % of their field of view (those at hand 45–100 %); a hand, a phantom or an
    empty table much less.

    Args:
        least_share: of the volume.
    """

    ends = True

    def __init__(self, least_share: float = 0.1) -> None:
        self.least_share = least_share

    def __call__(self, image: Seen) -> str | None:
        """The sentence; see `Check`."""
        found = image.body
        if found is None:
            return None
        if found.region is None:
            return f"this doesn't look like a patient: {found.note}"
        share = float(found.region.mask.mean())
        if share < self.least_share:
            return f"the body takes only {share:.0%} of the field of view, {self.least_share:.0%} or more is usual"
        return None
