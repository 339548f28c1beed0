"""Finds the patient in a CT: everything that isn't the air around."""

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.pipelines.engine.locate.coarse import Coarse
from radseg.pipelines.engine.locate.finder import Finder
from radseg.pipelines.engine.locate.region import Found, Region

_NOT_AIR_HU = -900.0  # lung is above it and air below: a lung that the field of view cuts isn't taken for air
_TISSUE_HU = -500.0
_SOFT_TISSUE_HU = (-200.0, 250.0)
_LEAST_SOFT = 0.1  # of what isn't air; less of it and the values aren't HU
_LEAST_LITRES = 0.05
_LEAST_SHARE = 0.01
_PIECE = 0.02  # of the largest: smaller pieces that float free are cables, blankets, noise


class BodyFinder(Finder):
    """Finds the body: tissue, what hangs together with it, and in each slice all that lies between (lungs, bowel gas).

    Generous: table and cushions that touch the body belong to it, gaps between arms and trunk too.

    Args:
        spacing_mm: size of the cells looked at.
        margin_mm: how far the region reaches beyond what was found.
    """

    def __init__(self, spacing_mm: float = 4.0, margin_mm: float = 5.0) -> None:
        super().__init__(spacing_mm)
        self.margin_mm = margin_mm

    def find(self, scan: Coarse) -> Found:
        """Where the body is, if the scan shows one."""
        dense = scan.hu > _NOT_AIR_HU
        count = int(dense.sum())
        litres = count * float(np.prod(scan.spacing_mm)) * 1e-6
        if litres < _LEAST_LITRES or count < _LEAST_SHARE * dense.size:
            return Found(None, "hardly any body")
        low, high = _SOFT_TISSUE_HU
        if int(((scan.hu > low) & (scan.hu < high)).sum()) < _LEAST_SOFT * count:
            return Found(None, "hardly any soft tissue: the values may not be HU")
        body = hulls(_pieces(dense, scan.hu > _TISSUE_HU))
        region = Region(body, scan.affine_ras).grown(self.margin_mm)
        return Found(region, f"body: {region.mask.mean():.0%} of the volume")


def hulls(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The convex hull of each axial slice (R, A, S) of a mask."""
    filled = np.zeros(mask.shape, dtype=np.uint8, order="F")
    for index in range(mask.shape[2]):
        points = cv2.findNonZero(np.ascontiguousarray(mask[:, :, index]).view(np.uint8))
        if points is not None:
            plane = np.zeros(mask.shape[:2], dtype=np.uint8)
            cv2.fillConvexPoly(plane, cv2.convexHull(points), 1)
            filled[:, :, index] = plane
    return filled.view(np.bool_)


def _pieces(dense: npt.NDArray[np.bool_], tissue: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The connected parts of `dense` that hold a good deal of tissue."""
    labels, count = ndimage.label(dense)
    held = np.bincount(labels[tissue], minlength=count + 1)
    held[0] = 0
    kept = held >= _PIECE * held.max()
    kept[0] = False
    return np.asarray(kept[labels])
