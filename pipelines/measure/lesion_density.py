"""Ground-glass and consolidation: what of a lung lesion is how dense."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io import Volume
from radseg.transforms.slabs import slabs

CONSOLIDATION_HU = -300.0
"""From here on a lesion's voxel counts as consolidation, below as ground-glass. Of the eight thresholds compared in
doi 10.1186/s12879-021-06556-z (BMC Infect Dis 2021) it told COVID-19 apart best; others take −200 HU (Chaganti et al.,
Radiol Artif Intell 2020, "high opacity")."""

AIRY_HU = -750.0
"""A lesion whose mean lies below is as airy as healthy lung (about −850 HU), so its mask isn't that of a lesion."""

BONY_HU = 150.0
"""A lesion whose mean lies above is bone, metal or vessels full of contrast medium, not lung. The bound is ours: a lung
without air is soft tissue (about 40 HU), and with contrast medium it rarely exceeds 120 HU."""


@dataclass(frozen=True)
class LesionDensity:
    """How dense a lesion is.

    Attributes:
        voxels: of the lesion.
        ground_glass, consolidation: voxels of either, all of the lesion together.
        mean_hu: of the lesion; None of an empty one.
    """

    voxels: int
    ground_glass: int
    consolidation: int
    mean_hu: float | None

    @property
    def trouble(self) -> str | None:
        """Why a mask of this density isn't that of a lung lesion, or None."""
        if self.mean_hu is None or AIRY_HU <= self.mean_hu <= BONY_HU:
            return None
        like = "airy as healthy lung" if self.mean_hu < AIRY_HU else "dense as bone or metal"
        return f"implausible mask: the lesion is as {like} (mean {self.mean_hu:.0f} HU)"


def lesion_density(lesion: npt.NDArray[np.bool_], volume: Volume) -> LesionDensity:
    """The lesion's voxels below and from −300 HU on; vessels and bronchi inside it count by their HU too.

    Args:
        lesion: (i, j, k) on the grid of `volume`.
        volume: a CT in HU.
    """
    voxels = dense = 0
    total = 0.0
    for index, slab in slabs(lesion):
        hu = volume.array[index][slab]
        voxels += hu.size
        dense += int(np.count_nonzero(hu >= CONSOLIDATION_HU))
        total += float(hu.sum(dtype=np.float64))
    return LesionDensity(voxels, voxels - dense, dense, total / voxels if voxels else None)
