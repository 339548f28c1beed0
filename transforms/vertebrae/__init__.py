"""Labelled CTs of vertebrae changed: fractures, osteoporosis, other surroundings; and maps that number vertebrae."""

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
from radseg.transforms.vertebrae.rand_surroundings import RandSurroundVertebrae, RandSurroundVertebraed
from radseg.transforms.vertebrae.surroundings import SurroundVertebrae

__all__ = [
    "FractureVertebra",
    "FractureVertebrad",
    "Heights",
    "RandFractureVertebra",
    "RandFractureVertebrad",
    "RandSimulateOsteoporosis",
    "RandSimulateOsteoporosisd",
    "RandSurroundVertebrae",
    "RandSurroundVertebraed",
    "SimulateOsteoporosis",
    "SimulateOsteoporosisd",
    "SurroundVertebrae",
    "VertebraLabels",
    "VertebraLabelsd",
    "vertebral_heights",
]
