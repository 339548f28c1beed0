"""Image and mask transforms that MONAI lacks, in its array and dictionary forms."""

from radseg.transforms.adaptive_threshold import ThresholdProbability, ThresholdProbabilityd
from radseg.transforms.beside_column import DropBesideColumn, DropBesideColumnd
from radseg.transforms.clahe import CLAHE, CLAHEd
from radseg.transforms.encoder_input import NormaliseForEncoder, NormaliseForEncoderd
from radseg.transforms.gaussian_blur import GaussianBlur, GaussianBlurd
from radseg.transforms.label_cleaning import CleanLabel, CleanLabeld
from radseg.transforms.morphological_cleanup import MorphologicalCleanup, MorphologicalCleanupd
from radseg.transforms.morphological_gradient import MorphologicalGradient, MorphologicalGradientd
from radseg.transforms.optical_distortion import (
    OpticalDistortion,
    OpticalDistortiond,
    RandOpticalDistortion,
    RandOpticalDistortiond,
)
from radseg.transforms.resample import ResampleToSpacing, ResampleToSpacingd
from radseg.transforms.resize_slices import ResizeSlices, ResizeSlicesd
from radseg.transforms.select_label import KeepLabel, KeepLabeld
from radseg.transforms.slice_by_slice import SliceBySlice, SliceBySliced
from radseg.transforms.stray_pieces import DropStray, DropStrayd
from radseg.transforms.window_hu import WindowHU, WindowHUd

__all__ = [
    "CLAHE",
    "CLAHEd",
    "CleanLabel",
    "CleanLabeld",
    "DropBesideColumn",
    "DropBesideColumnd",
    "DropStray",
    "DropStrayd",
    "GaussianBlur",
    "GaussianBlurd",
    "KeepLabel",
    "KeepLabeld",
    "MorphologicalCleanup",
    "MorphologicalCleanupd",
    "MorphologicalGradient",
    "MorphologicalGradientd",
    "NormaliseForEncoder",
    "NormaliseForEncoderd",
    "OpticalDistortion",
    "OpticalDistortiond",
    "RandOpticalDistortion",
    "RandOpticalDistortiond",
    "ResampleToSpacing",
    "ResampleToSpacingd",
    "ResizeSlices",
    "ResizeSlicesd",
    "SliceBySlice",
    "SliceBySliced",
    "ThresholdProbability",
    "ThresholdProbabilityd",
    "WindowHU",
    "WindowHUd",
]
