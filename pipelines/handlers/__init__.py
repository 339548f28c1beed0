"""Ignite handlers of training, one a file."""

from radseg.pipelines.handlers.at_start import AtStart
from radseg.pipelines.handlers.epoch_report import EpochReport
from radseg.pipelines.handlers.epoch_seed import EpochSeed
from radseg.pipelines.handlers.rate_schedule import RateSchedule
from radseg.pipelines.handlers.refresh_batch_norm import RefreshBatchNorm
from radseg.pipelines.handlers.step_loss import StepLoss
from radseg.pipelines.handlers.tracking import Tracking

__all__ = ["AtStart", "EpochReport", "EpochSeed", "RateSchedule", "RefreshBatchNorm", "StepLoss", "Tracking"]
