"""Numbers from masks, each with its unit and method."""

from radseg.pipelines.measure.lesion_burden import LesionBurden
from radseg.pipelines.measure.lung_fields import LungFields
from radseg.pipelines.measure.pelvis import PelvisSymmetry
from radseg.pipelines.measure.vertebrae import VertebraMeasures
from radseg.pipelines.measure.volumes import LabelVolumes

__all__ = ["LabelVolumes", "LesionBurden", "LungFields", "PelvisSymmetry", "VertebraMeasures"]
