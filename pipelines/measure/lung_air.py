"""How large the lungs of a CT are when nobody gave their mask: their air, and the lesion."""

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io import Volume
from radseg.transforms.slabs import slabs

ERROR = 0.05
"""The lungs' air differed by up to 5 % from the volume of their masks, in a real CT and in three simulated ones."""


def lung_voxels_by_air(lesion: npt.NDArray[np.bool_], volume: Volume) -> tuple[float | None, str]:
    """Voxels of both lungs, estimated as all that is air of lungs (below −400 HU at 3 mm) or lesion.

    The lungs must look whole to `LungFinder`. Windpipe and large bronchi count as lung; what is dense and no lesion in
    the mask, such as an effusion or the larger vessels, doesn't.

    Args:
        lesion: (i, j, k) on the grid of `volume`.
        volume: a CT in HU and mm.

    Returns:
        Voxels of `volume`'s size, or None and why the lungs aren't sure.
    """
    from radseg.pipelines.engine.locate.coarse import coarse  # the engine loads torch
    from radseg.pipelines.engine.locate.lungs import LungFinder, air_of_lungs

    finder = LungFinder()
    scan = coarse(volume, finder.spacing_mm)
    found = finder.find(scan)
    if found.region is None:
        return None, found.note
    air, _ = air_of_lungs(scan)
    per_cell = abs(np.linalg.det(scan.affine_ras[:3, :3]) / np.linalg.det(volume.affine_ras[:3, :3]))
    to_cell = np.linalg.inv(scan.affine_ras) @ volume.affine_ras
    not_air = 0
    for index, slab in slabs(lesion):
        if not slab.any():
            continue
        start = [one.indices(length)[0] for one, length in zip(index, lesion.shape, strict=False)]
        at = np.argwhere(slab) + np.array(start + [0] * (3 - len(start)))
        cell = np.rint(at @ to_cell[:3, :3].T + to_cell[:3, 3]).astype(np.intp)
        cell = np.clip(cell, 0, np.array(air.shape) - 1)
        not_air += len(cell) - int(np.count_nonzero(air[tuple(cell.T)]))
    return float(np.count_nonzero(air)) * float(per_cell) + not_air, found.note
