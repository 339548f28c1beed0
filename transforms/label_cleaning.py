"""Clean a predicted mask: drop small pieces, keep the largest ones, fill holes; volumes in mm³."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from scipy import ndimage

from radseg.transforms.pieces import find_pieces
from radseg.transforms.tracked import like, plain, tracked
from radseg.transforms.whole_numbers import check_whole_numbers, whole_numbers


class CleanLabel(Transform):
    """Clean each label of an integer mask by itself.

    A piece is a connected component with corners counted as contact (26 neighbours in 3D, 8 in 2D). First pieces
    below ``min_volume_mm3`` or ``min_share`` of the label's largest go, then all but the ``keep_largest`` largest;
    when that is done for every label, holes are filled: background that a label encloses on all sides (in all three
    dimensions on a volume; (C, H, W, 1), a radiograph or single slice, is the plane that it is). Another label inside
    a hole stays, other labels are never touched, and an empty mask stays empty.

    The volume of a voxel is the determinant of the affine; of a 2D mask with a 4×4 affine that is area times slice
    thickness, of one with a 3×3 affine the area (mm²).

    Args:
        min_volume_mm3: smallest piece that stays.
        min_share: smallest piece that stays, as a share of the label's largest, 0 to 1.
        keep_largest: how many pieces per label stay; ``None`` keeps all. Of equal ones the first in the array stays.
        fill_holes: fill enclosed background.
        labels: the labels to clean; ``None`` cleans all but 0.

    Raises:
        ValueError: a volume is negative, a share isn't from 0 to 1, ``keep_largest`` is below 1, or a label isn't
            positive.
    """

    def __init__(
        self,
        min_volume_mm3: float = 0.0,
        keep_largest: int | None = None,
        fill_holes: bool = False,
        labels: Sequence[int] | None = None,
        min_share: float = 0.0,
    ) -> None:
        if not 0 <= min_share <= 1:
            raise ValueError(f"min_share must be from 0 to 1, got {min_share}.")
        if not min_volume_mm3 >= 0:
            raise ValueError(f"min_volume_mm3 must not be negative, got {min_volume_mm3}.")
        if keep_largest is not None and keep_largest < 1:
            raise ValueError(f"keep_largest must be at least 1 or None, got {keep_largest}.")
        if labels is not None and any(label < 1 for label in labels):
            raise ValueError(f"labels must be positive (0 is background), got {tuple(labels)}.")
        self.min_volume_mm3 = float(min_volume_mm3)
        self.min_share = float(min_share)
        self.keep_largest = keep_largest
        self.fill_holes = fill_holes
        self.labels = None if labels is None else frozenset(labels)

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the cleaned mask of a mask (C, H, W) or (C, H, W, D); channels, shape, dtype and metadata stay.

        Raises:
            TypeError: ``min_volume_mm3`` is set and the mask is no ``MetaTensor``, so its voxel volume isn't known.
            ValueError: the mask holds values that aren't whole numbers.
        """
        source = tracked(mask)
        values = plain(source).numpy(force=True)
        check_whole_numbers(values)
        min_voxels = self.min_volume_mm3 / _voxel_volume_mm3(mask) if self.min_volume_mm3 else 0.0
        if not (self.fill_holes or self.keep_largest is not None or self.min_share or min_voxels > 1):
            return source
        cleaned = whole_numbers(values)
        for channel in cleaned:
            # an axis of one voxel would open every hole to its sides
            self._clean(channel[..., 0] if channel.ndim == 3 and channel.shape[2] == 1 else channel, min_voxels)
        return like(torch.from_numpy(cleaned).to(source.device, source.dtype), source)

    def _clean(self, mask: npt.NDArray[Any], min_voxels: float) -> None:
        pieces = find_pieces(mask)
        labels = [label for label in np.unique(pieces.label).tolist() if self.labels is None or label in self.labels]
        stays = np.ones(len(pieces.label), bool)
        for label in labels:
            of_label = np.flatnonzero(pieces.label == label)
            least = max(min_voxels, self.min_share * float(pieces.voxels[of_label].max()))
            # half a millionth of slack: a piece of exactly the minimum stays whatever the affine's last digit is
            stays[of_label] = pieces.voxels[of_label] >= least * (1 - 1e-6)
            if self.keep_largest is not None:
                by_size = of_label[np.lexsort((pieces.first[of_label], -pieces.voxels[of_label]))]
                stays[by_size[self.keep_largest :]] = False
        pieces.clear(~stays)
        if self.fill_holes:
            for label in labels:
                of_label = np.flatnonzero(stays & (pieces.label == label))
                if not of_label.size:
                    continue
                lower, upper = pieces.lower[of_label].min(axis=0), pieces.upper[of_label].max(axis=0)
                part = mask[tuple(slice(*ends) for ends in zip(lower, upper, strict=True))]
                part[ndimage.binary_fill_holes(part == label) & (part == 0)] = label


class CleanLabeld(MapTransform):
    """Dictionary form of `CleanLabel`."""

    def __init__(
        self,
        keys: KeysCollection,
        min_volume_mm3: float = 0.0,
        keep_largest: int | None = None,
        fill_holes: bool = False,
        labels: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
        min_share: float = 0.0,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clean = CleanLabel(min_volume_mm3, keep_largest, fill_holes, labels, min_share)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the masks at ``keys`` cleaned."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.clean(out[key])
        return out


def _voxel_volume_mm3(mask: torch.Tensor) -> float:
    if not isinstance(mask, MetaTensor):
        raise TypeError("min_volume_mm3 needs a MetaTensor: a plain tensor has no voxel volume.")
    size = mask.affine.shape[-1] - 1
    volume = abs(float(torch.linalg.det(mask.affine[:size, :size].to(torch.float64))))
    if not 0 < volume < float("inf"):
        raise ValueError(f"the affine's voxel volume must be positive, got {volume} mm³.")
    return volume
