"""Vertebrae measured: told apart, their heights, Genant's grades, and the density of their cores."""

from radseg.pipelines.measure.vertebrae.core_hu import Core, core_density
from radseg.pipelines.measure.vertebrae.genant import Deformity, deformities
from radseg.pipelines.measure.vertebrae.heights import MeasuredBody, measured_bodies
from radseg.pipelines.measure.vertebrae.instances import Instances, numbered_vertebrae, split_vertebrae
from radseg.pipelines.measure.vertebrae.plausible import plausible_deformities, shape_doubt
from radseg.pipelines.measure.vertebrae.vertebra_measures import VertebraMeasures

__all__ = [
    "Core",
    "Deformity",
    "Instances",
    "MeasuredBody",
    "VertebraMeasures",
    "core_density",
    "deformities",
    "measured_bodies",
    "numbered_vertebrae",
    "plausible_deformities",
    "shape_doubt",
    "split_vertebrae",
]
