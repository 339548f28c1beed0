"""Osteoporosis simulated in the vertebrae of a CT: spongy bone near muscle density, the cortex thinner and weaker."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.transforms import MapTransform, Transform
from numpy.typing import NDArray
from scipy import ndimage

from radseg.transforms.tracked import like, plain, tracked
from radseg.transforms.vertebrae.axis import FloatArray
from radseg.transforms.vertebrae.fracture import affine_of
from radseg.transforms.vertebrae.hounsfield import MARROW_HU, checked_window, in_hounsfield, in_window
from radseg.transforms.vertebrae.rand_change import RandChange, RandVertebraed, checked_limits

Values = NDArray[np.float32]

MUSCLE_HU = 50.0

_CORE_MM = 4.0
_WALL_MM = 2.5
_SEAM_MM = 0.8


class SimulateOsteoporosis(Transform):
    """Take mineral from the vertebrae of a CT, more from spongy bone than from the cortex.

    What lies above fatty marrow in HU is taken for mineral. Spongy bone, deeper than the cortex, keeps the share that
    brings the median of the vertebrae's cores (4 mm inside) to ``trabecular_hu``; bone at the surface keeps ``cortex``
    of its mineral, and between the surface and the cortex's depth the share passes from one to the other. That depth is
    2.5 mm, a healthy wall as a clinical CT shows it, less the same share: a cortex that is weaker is thinner as well.
    Vertebrae that are no denser than asked for stay as they are. Half of L1 bodies under 110 HU, and bodies near 50 HU,
    belong to osteoporotic patients (Pickhardt et al., Ann Intern Med 158(8), 2013).

    Args:
        trabecular_hu: what the cores come to; muscle has about 50.
        cortex: share of its mineral that the surface keeps, over 0, to 1.
        spacing_mm: voxel spacing of arrays in RAS order; None takes the image's affine.
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.

    Raises:
        ValueError: ``trabecular_hu`` isn't above fatty marrow's −80, the share or window isn't one.
    """

    def __init__(
        self,
        trabecular_hu: float = MUSCLE_HU,
        cortex: float = 0.6,
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        if not trabecular_hu > MARROW_HU:
            raise ValueError(f"trabecular_hu must lie above fatty marrow, {MARROW_HU:g}, got {trabecular_hu}.")
        if not 0 < cortex <= 1:
            raise ValueError(f"cortex must be a share over 0, to 1, got {cortex}.")
        self.trabecular_hu, self.cortex = float(trabecular_hu), float(cortex)
        self.spacing_mm, self.window_hu = spacing_mm, checked_window(window_hu)

    def __call__(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the image with less mineral wherever the map isn't 0; dtype and metadata kept.

        Args:
            image: CT in HU or in the window, (1, i, j, k).
            labels: label map of vertebrae on the same grid, (1, i, j, k).

        Raises:
            ValueError: the shapes differ or aren't (1, i, j, k), or the spacing is unknown.
        """
        affine = affine_of(image, labels, self.spacing_mm)
        image, labels = tracked(image), tracked(labels)
        changed = plain(image).clone()
        bone = plain(labels).numpy()[0] > 0
        found = ndimage.find_objects(bone.astype(np.uint8))
        if found:
            a, b, c = (slice(max(part.start - 3, 0), part.stop + 3) for part in found[0])
            # a view: what is written into it lies in the clone
            values = changed.numpy()[0, a, b, c]
            hu = in_hounsfield(values.astype(np.float32), self.window_hu)
            thinned = in_window(self._thinned(hu, bone[a, b, c], affine), self.window_hu)
            values[...] = np.rint(thinned) if np.issubdtype(values.dtype, np.integer) else thinned
        return like(changed, image)

    def _thinned(self, hu: Values, bone: NDArray[np.bool_], affine: FloatArray) -> Values:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        depth = ndimage.distance_transform_edt(bone, spacing).astype(np.float32)
        core = depth >= min(_CORE_MM, 0.8 * float(depth.max()))
        density = float(np.median(hu[core]))
        if density <= self.trabecular_hu:
            return hu
        spongy = np.float32((self.trabecular_hu - MARROW_HU) / (density - MARROW_HU))
        inwards = np.clip(depth / np.float32(_WALL_MM * self.cortex), 0, 1)
        kept = self.cortex + (spongy - self.cortex) * inwards
        # a cortex that would end up thinner than the spongy bone inside keeps as much as that
        kept = np.maximum(kept, spongy)
        inside = ndimage.gaussian_filter(bone.astype(np.float32), _SEAM_MM / spacing)
        lost = np.maximum(hu - MARROW_HU, 0) * (1 - kept)
        return np.asarray(hu - lost * np.where(bone, np.maximum(inside, 0.5), inside), np.float32)


class SimulateOsteoporosisd(MapTransform):
    """Dictionary form of `SimulateOsteoporosis`; the map stays as it is.

    Args:
        image_key: key of the CT.
        label_key: key of the label map.
        trabecular_hu: see `SimulateOsteoporosis`, like all that follow.
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        trabecular_hu: float = MUSCLE_HU,
        cortex: float = 0.6,
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        super().__init__((image_key, label_key))
        self.osteoporosis = SimulateOsteoporosis(trabecular_hu, cortex, spacing_mm, window_hu)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with less mineral in the image."""
        out = dict(data)
        image_key, label_key = self.keys
        out[image_key] = self.osteoporosis(out[image_key], out[label_key])
        return out


class RandSimulateOsteoporosis(RandChange[SimulateOsteoporosis]):
    """Sample how far osteoporosis has gone and apply `SimulateOsteoporosis`.

    Args:
        prob: probability that an image loses mineral.
        trabecular_hu: range of what the cores come to, uniform.
        cortex: range of the share that the surface keeps, uniform.
        spacing_mm: voxel spacing of arrays in RAS order; None takes the image's affine.
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.

    Raises:
        ValueError: a range is reversed, or holds what `SimulateOsteoporosis` refuses.
    """

    def __init__(
        self,
        prob: float = 0.5,
        trabecular_hu: Sequence[float] = (20.0, 100.0),
        cortex: Sequence[float] = (0.45, 0.8),
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        super().__init__(prob)
        checked_limits(trabecular_hu=trabecular_hu, cortex=cortex)
        for density, share in zip(trabecular_hu, cortex, strict=True):
            SimulateOsteoporosis(density, share, spacing_mm, window_hu)
        self.trabecular_hu, self.cortex = tuple(trabecular_hu), tuple(cortex)
        self.spacing_mm, self.window_hu = spacing_mm, window_hu

    def sample(self) -> SimulateOsteoporosis:
        """Draw how far it has gone."""
        density, share = float(self.R.uniform(*self.trabecular_hu)), float(self.R.uniform(*self.cortex))
        return SimulateOsteoporosis(density, share, self.spacing_mm, self.window_hu)


class RandSimulateOsteoporosisd(RandVertebraed):
    """Dictionary form of `RandSimulateOsteoporosis`; the map stays as it is.

    Args:
        image_key: key of the CT.
        label_key: key of the label map.
        prob: see `RandSimulateOsteoporosis`, like all that follow.
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        prob: float = 0.5,
        trabecular_hu: Sequence[float] = (20.0, 100.0),
        cortex: Sequence[float] = (0.45, 0.8),
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            image_key, label_key, RandSimulateOsteoporosis(prob, trabecular_hu, cortex, spacing_mm, window_hu)
        )
