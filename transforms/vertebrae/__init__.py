"""Vertebrae changed in labelled CTs: fractures and osteoporosis simulated, and the maps that number vertebrae."""

from radseg.transforms.vertebrae.endplates import Heights, vertebral_heights
from radseg.transforms.vertebrae.fracture import FractureVertebra, FractureVertebrad
from radseg.transforms.vertebrae.numbering import VertebraLabels, VertebraLabelsd
from radseg.transforms.vertebrae.osteoporosis import (
    RandSimulateOsteoporosis,
    RandSimulateOsteoporosisd,
    SimulateOsteoporosis,
    SimulateOsteoporosisd,
)
from radseg.transforms.vertebrae.rand_fracture import RandFractureVertebra, RandFractureVertebrad

__all__ = [
    "FractureVertebra",
    "FractureVertebrad",
    "Heights",
    "RandFractureVertebra",
    "RandFractureVertebrad",
    "RandSimulateOsteoporosis",
    "RandSimulateOsteoporosisd",
    "SimulateOsteoporosis",
    "SimulateOsteoporosisd",
    "VertebraLabels",
    "VertebraLabelsd",
    "vertebral_heights",
]
