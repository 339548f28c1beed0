"""How much of each label there is: voxels times the size of a voxel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io import Volume
from radseg.transforms.slabs import count_labels


class LabelVolumes:
    """Volume of each label in ml; in a picture or radiograph its share of the pixels and, if known, area in mm².

    Args:
        labels: names of the labels 1, 2, ….
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)

    def __call__(self, mask: npt.NDArray[np.uint8], volume: Volume, case: str) -> dict[str, Any]:
        """Statistics of one mask.

        Args:
            mask: labels, (i, j, k) on the grid of `volume`.
            volume: the image that was segmented.
            case: name of the case.
        """
        counts = count_labels(mask, len(self.labels))
        pixel_mm2 = volume.spacing_mm[0] * volume.spacing_mm[1]
        voxel_ml = abs(np.linalg.det(volume.affine_ras[:3, :3])) / 1000
        rows: dict[str, Any] = {}
        for value, name in enumerate(self.labels, start=1):
            row: dict[str, Any] = {"label": value, "voxels": int(counts[value])}
            if volume.spacing_known and not volume.is_picture:
                row["volume_ml"] = round(float(counts[value] * voxel_ml), 3)
            elif volume.spacing_known:
                row["area_mm2"] = round(float(counts[value] * pixel_mm2), 1)
            if volume.is_picture or not volume.spacing_known:
                row["share_of_image"] = round(float(counts[value] / mask.size), 6)
            rows[name] = row
        return {"labels": rows}
