"""Clean a predicted mask: drop small pieces, keep the largest ones, fill holes; volumes in mm³."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy, convert_to_tensor
from scipy import ndimage


class CleanLabel(Transform):
    """Clean each label of an integer mask by itself.

    A piece is a connected component with corners counted as contact (26 neighbours in 3D, 8 in 2D). First pieces
    below ``min_volume_mm3`` go, then all but the ``keep_largest`` largest; when that is done for every label, holes
    are filled: background that a label encloses on all sides (in all three dimensions on a volume; (C, H, W, 1), a
    radiograph or single slice, is the plane that it is). Another label inside a hole stays, other labels are never
    touched, and an empty mask stays empty.

    The volume of a voxel is the determinant of the affine; of a 2D mask with a 4×4 affine that is area times slice
    thickness, of one with a 3×3 affine the area (mm²).

    Args:
        min_volume_mm3: smallest piece that stays.
        keep_largest: how many pieces per label stay; ``None`` keeps all. Of equal ones the first in the array stays.
        fill_holes: fill enclosed background.
        labels: the labels to clean; ``None`` cleans all but 0.

    Raises:
        ValueError: a volume is negative, ``keep_largest`` is below 1, or a label isn't positive.
    """

    def __init__(
        self,
        min_volume_mm3: float = 0.0,
        keep_largest: int | None = None,
        fill_holes: bool = False,
        labels: Sequence[int] | None = None,
    ) -> None:
        if not min_volume_mm3 >= 0:
            raise ValueError(f"min_volume_mm3 must not be negative, got {min_volume_mm3}.")
        if keep_largest is not None and keep_largest < 1:
            raise ValueError(f"keep_largest must be at least 1 or None, got {keep_largest}.")
        if labels is not None and any(label < 1 for label in labels):
            raise ValueError(f"labels must be positive (0 is background), got {tuple(labels)}.")
        self.min_volume_mm3 = float(min_volume_mm3)
        self.keep_largest = keep_largest
        self.fill_holes = fill_holes
        self.labels = None if labels is None else frozenset(labels)

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the cleaned mask of a mask (C, H, W) or (C, H, W, D); channels, shape, dtype and metadata stay.

        Raises:
            TypeError: ``min_volume_mm3`` is set and the mask is no ``MetaTensor``, so its voxel volume isn't known.
            ValueError: the mask holds values that aren't whole numbers.
        """
        source: torch.Tensor = convert_to_tensor(mask, track_meta=get_track_meta())
        values = convert_to_numpy(source)
        with np.errstate(invalid="ignore"):
            whole = values.astype(np.int32)
        if values.dtype.kind == "f" and not np.array_equal(whole, values):
            raise ValueError("label cleaning takes an integer mask; this one holds fractions or undefined values.")
        min_voxels = self.min_volume_mm3 / _voxel_volume_mm3(mask) if self.min_volume_mm3 else 0.0
        for channel in whole:
            # an axis of one voxel would open every hole to its sides
            self._clean(channel[..., 0] if channel.ndim == 3 and channel.shape[2] == 1 else channel, min_voxels)
        out: torch.Tensor = convert_to_dst_type(whole, source, dtype=source.dtype)[0]
        return out

    def _clean(self, mask: npt.NDArray[np.int32], min_voxels: float) -> None:
        boxes = {
            label: box
            for label, box in enumerate(ndimage.find_objects(mask), start=1)
            if box is not None and (self.labels is None or label in self.labels)
        }
        if min_voxels > 1 or self.keep_largest is not None:
            for label, box in boxes.items():
                _drop_pieces(mask[box], label, min_voxels, self.keep_largest)
        if self.fill_holes:
            for label, box in boxes.items():
                part = mask[box]
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
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clean = CleanLabel(min_volume_mm3, keep_largest, fill_holes, labels)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the masks at ``keys`` cleaned."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.clean(out[key])
        return out


def _drop_pieces(part: npt.NDArray[np.int32], label: int, min_voxels: float, keep_largest: int | None) -> None:
    pieces, count = ndimage.label(part == label, structure=np.ones((3,) * part.ndim))
    voxels = np.bincount(pieces.ravel(), minlength=count + 1)
    # half a millionth of slack: a piece of exactly the minimum stays whatever the affine's last digit is
    keep = voxels >= min_voxels * (1 - 1e-6)
    keep[0] = True
    if keep_largest is not None:
        by_size = np.argsort(-voxels[1:], kind="stable") + 1
        keep[by_size[keep_largest:]] = False
    part[~keep[pieces]] = 0


def _voxel_volume_mm3(mask: torch.Tensor) -> float:
    if not isinstance(mask, MetaTensor):
        raise TypeError("min_volume_mm3 needs a MetaTensor: a plain tensor has no voxel volume.")
    size = mask.affine.shape[-1] - 1
    volume = abs(float(torch.linalg.det(mask.affine[:size, :size].to(torch.float64))))
    if not 0 < volume < float("inf"):
        raise ValueError(f"the affine's voxel volume must be positive, got {volume} mm³.")
    return volume
