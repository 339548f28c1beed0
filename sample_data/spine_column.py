"""The vertebral column of a synthetic patient: where each vertebra stands, how large it is and how it is deformed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Deformity = Literal["none", "wedge", "biconcave", "crush"]

# From the sacrum upwards: half width, half depth, height of the body and of the disc above it, all in mm, and the
# inclination of the axis towards posterior in degrees (lumbar lordosis, thoracic kyphosis).
_LEVELS = (
    "S1",
    "L5",
    "L4",
    "L3",
    "L2",
    "L1",
    "T12",
    "T11",
    "T10",
    "T9",
    "T8",
    "T7",
    "T6",
    "T5",
    "T4",
    "T3",
    "T2",
    "T1",
)
_HALF_WIDTH = (
    26.0,
    25.0,
    24.0,
    23.0,
    22.0,
    21.0,
    19.5,
    18.5,
    17.5,
    16.5,
    15.5,
    15.0,
    14.5,
    14.0,
    13.5,
    13.5,
    14.0,
    15.0,
)
_HALF_DEPTH = (
    17.0,
    17.5,
    17.5,
    17.0,
    16.5,
    16.0,
    15.5,
    15.0,
    15.0,
    14.5,
    14.0,
    13.5,
    12.5,
    12.0,
    11.5,
    11.0,
    10.5,
    10.0,
)
_HEIGHT = (29.0, 27.0, 27.0, 27.0, 26.5, 26.0, 24.5, 23.0, 22.0, 21.0, 20.5, 20.0, 19.5, 19.0, 18.5, 18.0, 17.5, 17.0)
_DISC = (10.0, 11.0, 10.5, 9.5, 8.5, 7.5, 6.0, 5.5, 5.0, 4.8, 4.6, 4.4, 4.2, 4.0, 4.0, 4.0, 4.0, 4.0)
_INCLINATION = (
    -36.0,
    -20.0,
    -11.0,
    -2.0,
    6.0,
    10.0,
    11.0,
    9.0,
    6.0,
    3.0,
    -1.0,
    -5.0,
    -9.0,
    -13.0,
    -16.0,
    -18.0,
    -20.0,
    -20.0,
)


@dataclass(frozen=True)
class Fracture:
    """A vertebral body's loss of height.

    Attributes:
        deformity: The form after Genant: wedge (in front), biconcave (in the middle) or crush (everywhere).
        loss: Share of the height that is lost, 0.25 to 0.5.
    """

    deformity: Deformity
    loss: float

    def loss_as(self, deformity: Deformity) -> float:
        """Return the lost share if the fracture has this form, else 0."""
        return self.loss if self.deformity == deformity else 0.0


@dataclass(frozen=True)
class Spine:
    """What sets one synthetic spine apart from another.

    Attributes:
        center_level: The vertebra in the middle of the image, such as "L3".
        fractures: The deformed vertebrae by level.
        size: Scale of all vertebrae.
        curvature: Scale of lordosis and kyphosis.
        scoliosis_mm: Largest sideways shift of the column.
        trabecular_hu: Density of the spongy bone; below about 80 HU is osteoporotic.
        cortical_hu: Density of the shell.
    """

    center_level: str
    fractures: Mapping[str, Fracture] = field(default_factory=dict)
    size: float = 1.0
    curvature: float = 1.0
    scoliosis_mm: float = 0.0
    trabecular_hu: float = 170.0
    cortical_hu: float = 850.0


@dataclass(frozen=True)
class Vertebra:
    """A vertebra in patient space.

    Attributes:
        level: Its name, such as "L3".
        center_lps: Middle of the body in LPS mm.
        axes_lps: Unit vectors to the patient's left, to posterior and to superior, as columns in LPS.
        half_width_mm: Half the body's width.
        half_depth_mm: Half the body's depth.
        height_mm: Height of the body before any fracture.
        disc_mm: Height of the disc above.
        thoracic: 0 for a lumbar, 1 for a thoracic vertebra, between them at the junction.
        fracture: The loss of height; `deformity` "none" when intact.
    """

    level: str
    center_lps: FloatArray
    axes_lps: FloatArray
    half_width_mm: float
    half_depth_mm: float
    height_mm: float
    disc_mm: float
    thoracic: float
    fracture: Fracture

    @property
    def is_fractured(self) -> bool:
        """Whether the body has lost height."""
        return self.fracture.deformity != "none"

    @property
    def standing_mm(self) -> float:
        """Height at the body's edge behind, which only a crush lowers."""
        return self.height_mm * (1 - self.fracture.loss_as("crush"))

    @property
    def is_labelled(self) -> bool:
        """Whether the masks name it: the sacrum is no free vertebra and stays background."""
        return self.level != "S1"


def _axes(inclination: float, lean: float) -> FloatArray:
    """Return the axes of a vertebra inclined towards posterior and leaning to the left, in radians."""
    superior = np.array(
        [math.sin(lean), math.sin(inclination) * math.cos(lean), math.cos(inclination) * math.cos(lean)]
    )
    posterior = np.array([0.0, math.cos(inclination), -math.sin(inclination)])
    left = np.cross(posterior, superior)
    return np.round(np.stack([left, posterior, superior], axis=1), 12)


def build_column(spine: Spine) -> list[Vertebra]:
    """Stack the vertebrae from the sacrum upwards, the middle of `center_level` at the origin.

    A wedge or crush lowers what stands above it, and a wedge bends the column forward by half its angle.
    """
    column: list[Vertebra] = []
    top = np.zeros(3)
    bend = 0.0
    for index, level in enumerate(_LEVELS):
        fracture = spine.fractures.get(level, Fracture("none", 0.0))
        height = _HEIGHT[index] * spine.size
        half_depth = _HALF_DEPTH[index] * spine.size
        lean = spine.scoliosis_mm / 60 * math.cos((index - 1) * math.pi / 5)
        axes = _axes(math.radians(_INCLINATION[index] * spine.curvature) + bend, lean)
        standing = height * (1 - fracture.loss_as("crush"))
        center = top + axes[:, 2] * standing / 2
        if fracture.deformity == "wedge":
            top = center + axes[:, 2] * (standing / 2 - fracture.loss * height / 2)
            bend -= 0.5 * math.atan(fracture.loss * height / (2 * half_depth))
        else:
            top = center + axes[:, 2] * standing / 2
        disc = _DISC[index] * spine.size
        next_index = min(index + 1, len(_LEVELS) - 1)
        between = (_INCLINATION[index] + _INCLINATION[next_index]) / 2 * spine.curvature
        top = top + _axes(math.radians(between) + bend, lean)[:, 2] * disc
        thoracic = min(max((index - 5) / 4, 0.0), 1.0)
        column.append(
            Vertebra(
                level=level,
                center_lps=center,
                axes_lps=axes,
                half_width_mm=_HALF_WIDTH[index] * spine.size,
                half_depth_mm=half_depth,
                height_mm=height,
                disc_mm=disc,
                thoracic=thoracic,
                fracture=fracture,
            )
        )
    middle = column[_LEVELS.index(spine.center_level)].center_lps
    return [replace(vertebra, center_lps=np.round(vertebra.center_lps - middle, 9)) for vertebra in column]
