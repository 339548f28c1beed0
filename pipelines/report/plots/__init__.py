"""Plots by matplotlib, one a file; each takes plain numbers and gives the bytes of a PNG, SVG or PDF."""

from radseg.pipelines.report.plots.agreement import Agreement, agreement
from radseg.pipelines.report.plots.bland_altman import Sizes, bland_altman
from radseg.pipelines.report.plots.difference_bars import Difference, difference_bars
from radseg.pipelines.report.plots.fold_boxes import FoldScores, fold_boxes
from radseg.pipelines.report.plots.look import Form
from radseg.pipelines.report.plots.parameters_against import Network, parameters_against
from radseg.pipelines.report.plots.training_curves import Training, training_curves
from radseg.pipelines.report.plots.trial_curves import TrialCurve, trial_curves
from radseg.pipelines.report.plots.trial_scores import TrialScore, trial_scores

__all__ = [
    "Agreement",
    "Difference",
    "FoldScores",
    "Form",
    "Network",
    "Sizes",
    "Training",
    "TrialCurve",
    "TrialScore",
    "agreement",
    "bland_altman",
    "difference_bars",
    "fold_boxes",
    "parameters_against",
    "training_curves",
    "trial_curves",
    "trial_scores",
]
