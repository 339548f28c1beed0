"""Density of a vertebral body's spongy core: the mean of the HU well inside its walls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.transforms.vertebrae.axis import to_mm
from radseg.transforms.vertebrae.endplates import Body, surface

CORTEX_MM = 3.0
"""Left out under every wall and endplate: cortex, and the voxels that mix it with marrow."""

BONE_HU = (-100.0, 1000.0)
"""Means outside aren't those of spongy bone: below lie air and fat, above cement and metal. The bounds are ours, far
from the 50 to 300 HU of most adults, whose fatty marrow seldom lets a mean fall below 0."""

_LEAST_VOXELS = 20
_OUTLINE = 0.75
_BEHIND = -0.35
_MIDDLE_HALF = 0.6


@dataclass(frozen=True)
class Core:
    """HU of a body's core: mean, standard deviation over its voxels, and how many they are."""

    mean_hu: float
    sd_hu: float
    voxels: int

    @property
    def trouble(self) -> str | None:
        """Why this isn't the density of bone, or None."""
        if BONE_HU[0] <= self.mean_hu <= BONE_HU[1]:
            return None
        like = "air or fat" if self.mean_hu < BONE_HU[0] else "cement or metal"
        return f"implausible mask: the core is {like}, not bone (mean {self.mean_hu:.0f} HU)"


def core_density(
    image: npt.NDArray[np.floating | np.integer],
    bone: npt.NDArray[np.bool_],
    body: Body,
    affine_ras: npt.NDArray[np.float64],
) -> Core | None:
    """Mean HU of the core of a body, or None where fewer than 20 voxels lie inside it.

    After the region of interest of opportunistic osteoporosis screening (Pickhardt et al., Ann Intern Med 158(8), 2013:
    an oval in the trabecular bone of the front of the body, without cortex, endplates and basivertebral veins), here
    in 3D: within 0.75 of the outline, in front of 0.35 of the half depth behind its middle, in the middle 60 % between
    the endplates, and at least 3 mm inside the mask. Contrast medium and tube voltage change it.

    Args:
        image: CT in HU round the vertebra, (i, j, k).
        bone: where this vertebra is, likewise.
        body: its outline and endplates.
        affine_ras: voxel of that part to RAS mm, (4, 4).
    """
    inside = np.pad(bone, 1)
    spacing = np.linalg.norm(affine_ras[:3, :3], axis=0)
    depth = ndimage.distance_transform_edt(inside, spacing)[1:-1, 1:-1, 1:-1]
    where = np.argwhere(depth >= CORTEX_MM)
    if not len(where):
        return None
    local = body.frame.local(to_mm(where.astype(float), affine_ras))
    p, q = local[:, 0] / body.half_width_mm, local[:, 1] / body.half_depth_mm
    lower, upper = surface(body.lower, p, q), surface(body.upper, p, q)
    level = (local[:, 2] - (lower + upper) / 2) / np.maximum(upper - lower, 1e-3)
    core = (p * p + q * q <= _OUTLINE**2) & (q >= _BEHIND) & (np.abs(level) <= _MIDDLE_HALF / 2)
    if np.count_nonzero(core) < _LEAST_VOXELS:
        return None
    values = np.asarray(image[tuple(where[core].T)], np.float64)
    return Core(float(values.mean()), float(values.std()), len(values))
