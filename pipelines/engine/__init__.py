"""Runs a network over a case: where, in which precision, and back to the case's own grid."""

from radseg.pipelines.engine.autocast import AutocastInferer
from radseg.pipelines.engine.device import pick_device
from radseg.pipelines.engine.predictor import Prediction, Predictor

__all__ = ["AutocastInferer", "Prediction", "Predictor", "pick_device"]
