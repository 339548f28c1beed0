"""Whether an image is as large as what it should show."""

from radseg.pipelines.plausibility.seen import Seen


class FieldOfView:
    """Flags an image that shows much less than what is looked for, or more than a scanner can.

    Args:
        least_mm: what the second longest of the three sides must have: a slice may be thin and a scan short, but the
            organ has to fit into the other two. Of a radiograph, its shorter side.
        most_mm: of the longest side.
    """

    ends = False

    def __init__(self, least_mm: float, most_mm: float = 2200.0) -> None:
        self.least_mm = least_mm
        self.most_mm = most_mm

    def __call__(self, image: Seen) -> str | None:
        """The sentence; see `Check`."""
        volume = image.volume
        if not volume.spacing_known:
            return None
        sides = [size * count for size, count in zip(volume.spacing_mm, volume.array.shape, strict=True)]
        field = " × ".join(f"{side:.0f}" for side in (sides[:2] if volume.is_picture else sides)) + " mm"
        if sorted(sides)[1] < self.least_mm:
            return f"the field of view is {field}; {self.least_mm:.0f} mm or more is expected across"
        if max(sides) > self.most_mm:
            return f"the field of view is {field}, more than {self.most_mm:.0f} mm: is the spacing right, in mm?"
        return None
