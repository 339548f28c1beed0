"""What lies beside vertebrae elsewhere in the body, simulated around those of a CT: lung, filled vessels, ribs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.transforms import Transform
from scipy import ndimage

from radseg.transforms.tracked import like, plain, tracked
from radseg.transforms.vertebrae.fracture import affine_of
from radseg.transforms.vertebrae.hounsfield import Values, checked_window, in_hounsfield, in_window
from radseg.transforms.vertebrae.random_shapes import field, spread, tube, tube_distance

LUNG_HU = -850.0

_BONE_HU = 180.0
"""What is denser stays: ribs, other bones, metal."""
_LUNG_VESSEL_MM = 1.5
_WALL_MM = 1.5
_CLOSED_MM = 10.0
"""Half the width of gaps between vertebrae that are closed: discs, the spinal canal."""


class SurroundVertebrae(Transform):
    """Fill soft tissue beside the vertebrae of a CT with lung, with vessels full of contrast medium, and with ribs.

    The vertebrae, the discs and canal between them, what lies within a margin of them, and all that is as dense as
    bone already, stay as they are. The shapes are no anatomy: lung is where a smooth random field is high; vessels and
    ribs are curved tubes, about where two such fields are both 0. A network that has seen lumbar spines alone has never
    seen lung beside a vertebra, a bright aorta or a rib.

    Args:
        seed: of the fields.
        lung: share of the free space that becomes lung, 0 to 1.
        vessel_mm: radius of the bright vessels; 0 for none.
        vessel_hu: their density.
        rib_mm: radius of the ribs; 0 for none.
        rib_hu: density of their walls; their insides have half of it.
        margin_mm: how near the vertebrae nothing is changed.
        spacing_mm: voxel spacing of arrays in RAS order; None takes the image's affine.
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.

    Raises:
        ValueError: a share or a length isn't one.
    """

    def __init__(
        self,
        seed: int = 0,
        lung: float = 0.5,
        vessel_mm: float = 8.0,
        vessel_hu: float = 300.0,
        rib_mm: float = 5.0,
        rib_hu: float = 600.0,
        margin_mm: float = 3.0,
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        if not 0 <= lung <= 1:
            raise ValueError(f"lung must be a share, 0 to 1, got {lung}.")
        for name, length in (("vessel_mm", vessel_mm), ("rib_mm", rib_mm), ("margin_mm", margin_mm)):
            if not 0 <= length < float("inf"):
                raise ValueError(f"{name} must be a length of 0 or more, got {length}.")
        self.seed, self.lung, self.margin_mm = seed, float(lung), float(margin_mm)
        self.vessel_mm, self.vessel_hu = float(vessel_mm), float(vessel_hu)
        self.rib_mm, self.rib_hu = float(rib_mm), float(rib_hu)
        self.spacing_mm, self.window_hu = spacing_mm, checked_window(window_hu)

    def __call__(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the image with other surroundings; dtype and metadata kept.

        Args:
            image: CT in HU or in the window, (1, i, j, k).
            labels: label map on the same grid, (1, i, j, k); what isn't 0 is a vertebra.

        Raises:
            ValueError: the shapes differ or aren't (1, i, j, k), or the spacing is unknown.
        """
        affine = affine_of(image, labels, self.spacing_mm)
        spacing = np.linalg.norm(affine[:3, :3], axis=0).astype(np.float32)
        image, labels = tracked(image), tracked(labels)
        values = plain(image).numpy()[0]
        hu = in_hounsfield(values.astype(np.float32), self.window_hu)
        changed = in_window(self._surrounded(hu, plain(labels).numpy()[0] > 0, spacing), self.window_hu)
        if np.issubdtype(values.dtype, np.integer):
            changed = np.rint(changed)
        return like(torch.from_numpy(changed[None].astype(values.dtype)), image)

    def _surrounded(self, hu: Values, bone: np.ndarray, spacing: Values) -> Values:
        rng = np.random.default_rng(self.seed)
        free = _soft_edge(~(_column(bone, self.margin_mm, spacing) | (hu > _BONE_HU)), spacing)
        noise = rng.normal(0, 1, hu.shape).astype(np.float32)
        if self.lung > 0:
            hills = field(rng, spacing * hu.shape, rng.uniform(40, 90))
            inside = _soft_edge(spread(hills, hu.shape) > np.quantile(hills, 1 - self.lung), spacing)
            air = np.full_like(hu, LUNG_HU) + 40 * noise
            air = _painted(air, tube(rng, hu.shape, spacing, 18.0, _LUNG_VESSEL_MM), 40 + 30 * noise)
            hu = _painted(hu, inside * free, air)
        if self.vessel_mm > 0:
            hu = _painted(hu, tube(rng, hu.shape, spacing, 70.0, self.vessel_mm) * free, self.vessel_hu + 25 * noise)
        if self.rib_mm > 0:
            axis = tube_distance(rng, hu.shape, spacing, 60.0)
            rib = np.where(axis > self.rib_mm - _WALL_MM, self.rib_hu, 0.5 * self.rib_hu).astype(np.float32)
            hu = _painted(hu, np.clip(self.rib_mm - axis + 0.5, 0, 1) * free, rib + 40 * noise)
        return hu


def _column(bone: np.ndarray, margin_mm: float, spacing: Values) -> np.ndarray:
    """The vertebrae with a margin, and what they enclose: discs and the spinal canal."""
    if not bone.any():
        return bone
    around = ndimage.distance_transform_edt(~bone, spacing) <= _CLOSED_MM
    if around.all():
        return np.asarray(around)
    return np.asarray(ndimage.distance_transform_edt(around, spacing) > _CLOSED_MM - margin_mm)


def _soft_edge(inside: np.ndarray, spacing: Values) -> Values:
    """1 inside, 0 outside, blurred between them as a scanner does."""
    return np.asarray(ndimage.gaussian_filter(inside.astype(np.float32), 0.7 / spacing))


def _painted(hu: Values, share: Values, colour: Values) -> Values:
    return np.asarray(hu + share * (colour - hu), np.float32)
