"""How far to trust a mask: which regions are doubtful, and whether probabilities mean what they say."""

from radseg.pipelines.confidence.calibration import Calibration
from radseg.pipelines.confidence.doubt import Doubt, doubt_of
from radseg.pipelines.confidence.regions import doubtful_regions
from radseg.pipelines.confidence.temperature import temperature_of

__all__ = ["Calibration", "Doubt", "doubt_of", "doubtful_regions", "temperature_of"]
