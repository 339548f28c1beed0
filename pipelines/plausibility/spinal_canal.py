"""Whether a CT shows a spine: whether a vertebral canal runs through it."""

from radseg.pipelines.engine.locate import SpineFinder
from radseg.pipelines.plausibility.seen import Seen

_LEAST_LENGTH_MM = 30.0  # of less the finder says nothing


class SpinalCanal:
    """Flags a CT in which no vertebral canal can be followed, such as of a head, a hip or a leg.

    Looks by the engine's `SpineFinder`, which would rather not be sure than wrong: a spine with much metal or in an
    unusual posture may be flagged too, with what the finder says of it.
    """

    ends = False

    def __call__(self, image: Seen) -> str | None:
        """The sentence; see `Check`."""
        scan = image.scan
        if scan is None or scan.hu.shape[2] * scan.spacing_mm[2] < _LEAST_LENGTH_MM:
            return None
        found = SpineFinder().find(scan)
        return None if found.region is not None else f"this doesn't look like a spine: {found.note}"
