"""Whether the voxels of a volume are small enough to show what is looked for."""

from radseg.pipelines.io.volume import format_mm
from radseg.pipelines.plausibility.seen import Seen


class VoxelSize:
    """Flags voxels that are too coarse, or too fine for a patient.

    Args:
        coarsest_mm: two smaller sides of a voxel (the pixels of a slice), and the larger one (the slices' distance).
        finest_mm: of any side; a CT of a patient has pixels of 0.2 mm or more, one of an animal or specimen fewer.
    """

    ends = False

    def __init__(self, coarsest_mm: tuple[float, float] = (4.0, 10.0), finest_mm: float = 0.1) -> None:
        self.coarsest_mm = (float(coarsest_mm[0]), float(coarsest_mm[1]))
        self.finest_mm = finest_mm

    def __call__(self, image: Seen) -> str | None:
        """The sentence; see `Check`."""
        volume = image.volume
        if volume.is_picture or not volume.spacing_known:
            return None
        finest, middle, largest = sorted(volume.spacing_mm)
        size = format_mm(volume.spacing_mm)
        pixel, slices = self.coarsest_mm
        if middle > pixel or largest > slices:
            return f"voxels of {size} are coarse: pixels up to {pixel:g} mm and slices up to {slices:g} mm are expected"
        if finest < self.finest_mm:
            return f"voxels of {size} are finer than those of a patient's CT: is the spacing right, in mm?"
        return None
