"""Runs a network over a case: where it matters, on what is fastest, and back to the case's own grid."""

from radseg.pipelines.engine.autocast import AutocastInferer
from radseg.pipelines.engine.device import pick_device
from radseg.pipelines.engine.guided_refinement import GuidedRefinement, guided_by_ct
from radseg.pipelines.engine.locate import BodyFinder, LungFinder, SpineFinder
from radseg.pipelines.engine.prediction import Effort, Prediction
from radseg.pipelines.engine.predictor import Predictor
from radseg.pipelines.engine.restore import Restore, Restored
from radseg.pipelines.engine.runtime import Members, RuntimeNetwork, flips_of, run_on
from radseg.pipelines.engine.windows import WindowInferer

__all__ = [
    "AutocastInferer",
    "BodyFinder",
    "Effort",
    "GuidedRefinement",
    "LungFinder",
    "Members",
    "Prediction",
    "Predictor",
    "Restore",
    "Restored",
    "RuntimeNetwork",
    "SpineFinder",
    "WindowInferer",
    "flips_of",
    "guided_by_ct",
    "pick_device",
    "run_on",
]
