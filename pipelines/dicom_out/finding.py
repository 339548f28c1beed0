"""What there is to say of one case in DICOM, whatever the kind of object that says it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.dicom_out.segments import Segment
from radseg.pipelines.dicom_out.source import Source


@dataclass(frozen=True, eq=False)
class Finding:
    """A mask with all that its DICOM objects need to know.

    Attributes:
        mask: labels, uint8, (i, j, k).
        affine_ras: 4×4, voxel index of `mask` → RAS in mm; of a radiograph without meaning.
        source: the images it was made of.
        segments: what the labels 1, 2, … are.
        statistics: content of statistics.json: bundle, bundle_version, weights_sha256, recipe_sha256, labels, ….
        probability: of each label, uint8, (labels, i, j, k), 255 for 1, where it is known.
    """

    mask: npt.NDArray[np.uint8]
    affine_ras: npt.NDArray[np.float64]
    source: Source
    segments: Sequence[Segment]
    statistics: Mapping[str, Any]
    probability: npt.NDArray[np.uint8] | None = None

    def uid(self, what: str) -> str:
        """A UID (PS3.5 B.2, below 2.25) that is the same whenever this mask of this source is written as `what`."""
        instances = (header.get("SOPInstanceUID", "") for header in self.source.headers)
        keys = ("bundle", "bundle_version", "weights_sha256", "recipe_sha256")
        return made_uid(what, *instances, *(self.statistics.get(key, "") for key in keys))


def made_uid(*of: object) -> str:
    """A UID (PS3.5 B.2, below 2.25) that follows from what it is made of."""
    digest = hashlib.sha256("\n".join(map(str, of)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
