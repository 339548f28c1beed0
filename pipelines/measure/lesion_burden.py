"""How far a lesion reaches: share of the slices it touches and, given a lung mask, share of the lung."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume, load_mask, mask_on_image
from radseg.pipelines.io.store.local_copy import local_copy
from radseg.pipelines.measure.volumes import LabelVolumes
from radseg.transforms.slabs import count_planes, slabs


class LesionBurden:
    """Volumes as `LabelVolumes`, and the extent of all labels together.

    `share_of_slices` is the number of axial slices with any lesion over all slices. `share_of_lung` is lesion voxels
    inside the lung mask over the voxels of the lung mask; it is left out without one.

    Args:
        labels: names of the labels 1, 2, ….
        lung_mask: a mask file for a single case, or a folder with `<case>.nii.gz` or `<case>.png`; anything above 0
            is lung.
    """

    def __init__(self, labels: Sequence[str], lung_mask: str | Path | None = None) -> None:
        self.volumes = LabelVolumes(labels)
        self.lung_mask = None if lung_mask is None else Path(lung_mask)

    def __call__(self, mask: npt.NDArray[np.uint8], volume: Volume, case: str) -> dict[str, Any]:
        """Statistics of one mask; the arguments are those of `LabelVolumes`.

        Raises:
            InputError: the lung mask is missing, empty, or lies on another grid.
        """
        axial = int(np.argmax(np.abs(volume.affine_ras[2, :3])))
        touched = count_planes(mask)[axial] > 0
        statistics = self.volumes(mask, volume, case)
        statistics["slices"] = int(touched.size)
        statistics["share_of_slices"] = round(float(touched.mean()), 6)
        if self.lung_mask is not None:
            statistics["share_of_lung"] = round(self._share_of_lung(mask, case, volume), 6)
        return statistics

    def _share_of_lung(self, mask: npt.NDArray[np.uint8], case: str, volume: Volume) -> float:
        assert self.lung_mask is not None
        file = local_copy(self.lung_mask)
        if file.is_dir():
            found = [file / f"{case}{ending}" for ending in (".nii.gz", ".png") if (file / f"{case}{ending}").is_file()]
            if not found:
                raise InputError(f"{file}: no lung mask {case}.nii.gz or {case}.png; add it or drop --lung_mask")
            file = found[0]
        lung = mask_on_image(Path(case), volume, file, load_mask(file)).array
        voxels = inside = 0
        for index, slab in slabs(lung):
            of_lung = slab > 0
            voxels += int(np.count_nonzero(of_lung))
            inside += int(np.count_nonzero(of_lung & (mask[index] > 0)))
        if not voxels:
            raise InputError(f"{file}: the lung mask is empty; give the right one or drop --lung_mask")
        return inside / voxels
