"""What all finders do first: see that a volume is a CT in HU and mm, and look at it coarsely."""

from abc import ABC, abstractmethod

from radseg.pipelines.engine.locate.coarse import Coarse, coarse
from radseg.pipelines.engine.locate.region import Found
from radseg.pipelines.io import Volume


class Finder(ABC):
    """Finds the part of a CT that is worth the network's time.

    Args:
        spacing_mm: size of the cells looked at.
    """

    def __init__(self, spacing_mm: float) -> None:
        self.spacing_mm = spacing_mm

    def __call__(self, volume: Volume) -> Found:
        """The part, or why it isn't certain."""
        if volume.units != "HU" or volume.is_picture:
            return Found(None, "not a CT in HU")
        if not volume.spacing_known:
            return Found(None, "the size of a voxel isn't known")
        return self.find(coarse(volume, self.spacing_mm))

    @abstractmethod
    def find(self, scan: Coarse) -> Found:
        """The part of a CT seen at a few mm, or why it isn't certain."""
