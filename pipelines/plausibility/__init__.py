"""Whether an image is what a bundle was made for: each check says in words what is out of place."""

from radseg.pipelines.plausibility.body import Body
from radseg.pipelines.plausibility.chest_likeness import ChestLikeness
from radseg.pipelines.plausibility.colour import Colour
from radseg.pipelines.plausibility.field_of_view import FieldOfView
from radseg.pipelines.plausibility.hounsfield import HounsfieldUnits
from radseg.pipelines.plausibility.lung_share import LungShare
from radseg.pipelines.plausibility.plausibility import Check, Plausibility
from radseg.pipelines.plausibility.seen import Seen
from radseg.pipelines.plausibility.spinal_canal import SpinalCanal
from radseg.pipelines.plausibility.surround import Surround
from radseg.pipelines.plausibility.voxel_size import VoxelSize

__all__ = [
    "Body",
    "Check",
    "ChestLikeness",
    "Colour",
    "FieldOfView",
    "HounsfieldUnits",
    "LungShare",
    "Plausibility",
    "Seen",
    "SpinalCanal",
    "Surround",
    "VoxelSize",
]
