"""Drop what lies left or right of a spine's mask, such as marks in hip bones, shoulders and ribs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from radseg.transforms.pieces import Integers, Pieces, find_pieces
from radseg.transforms.resample import spacing_of
from radseg.transforms.tracked import like, plain, tracked
from radseg.transforms.whole_numbers import check_whole_numbers, whole_numbers

_STEP_MM = 10.0
"""Height of the slabs whose middles are the column's course."""
_END_MM = 30.0
"""How much of the column's end says where it would go on."""
_LEAN = 0.5
"""How far to the side a spine may go on its way up or down, as a share of that way."""


class DropBesideColumn(Transform):
    """Drop groups of pieces that lie beside the largest group, however large they are: a spine is one column.

    Groups are those of `DropStray`. A group stays where its middle lies no farther to the left or right of the largest
    group, at its own height, than ``most_mm``; above and below that group, where the spine may go on after a gap, half
    of the way up or down is added.

    Args:
        within_mm: how far apart the linked pieces of a group may be, see `DropStray`.
        most_mm: how far to the side a group may lie; 0 keeps all.

    Raises:
        ValueError: ``within_mm`` isn't positive, or ``most_mm`` is below 0.
    """

    def __init__(self, within_mm: float, most_mm: float) -> None:
        if not 0 < within_mm < float("inf"):
            raise ValueError(f"within_mm must be positive, got {within_mm}.")
        if not 0 <= most_mm < float("inf"):
            raise ValueError(f"most_mm must be 0 or more, got {most_mm}.")
        self.within_mm = float(within_mm)
        self.most_mm = float(most_mm)

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the mask (C, H, W, D) without what lies beside; channels, shape, dtype and metadata stay.

        Raises:
            TypeError: the mask is no ``MetaTensor``, so left and right aren't known.
            ValueError: it holds values that aren't whole numbers.
        """
        source = tracked(mask)
        if not self.most_mm or source.ndim < 4:
            return source
        values = plain(source).numpy(force=True)
        check_whole_numbers(values)
        kept = whole_numbers(values)
        block = [math.ceil(self.within_mm / 2 / spacing) for spacing in spacing_of(mask)]
        assert isinstance(mask, MetaTensor)  # seen by spacing_of
        affine = mask.affine.numpy(force=True)
        for channel in kept:
            pieces = find_pieces(channel)
            group = pieces.groups(block)
            if group.max(initial=0) > 0:
                pieces.clear(self._beside(pieces, group, affine)[group])
        return like(torch.from_numpy(kept).to(source.device, source.dtype), source)

    def _beside(self, pieces: Pieces, group: Integers, affine: np.ndarray) -> np.ndarray:
        """Of each group, whether it lies beside the largest one."""
        centres, voxels, piece = pieces.run_centres()
        right, height = (centres @ affine[axis, :3] + affine[axis, 3] for axis in (0, 2))
        of_run = group[piece]
        total = np.bincount(of_run, voxels)
        column = of_run == total.argmax()
        low, high = float(height[column].min()), float(height[column].max())
        middle_right = np.bincount(of_run, voxels * right) / total
        middle_height = np.bincount(of_run, voxels * height) / total
        gap = np.maximum(np.maximum(low - middle_height, middle_height - high), 0)
        beside = np.zeros(len(total), bool)
        for one in np.flatnonzero(np.arange(len(total)) != total.argmax()):
            half = _END_MM if gap[one] else _STEP_MM
            near = column & (np.abs(height - np.clip(middle_height[one], low, high)) <= half)
            if not near.any():  # between two parts of the group
                near = column
            course = np.average(right[near], weights=voxels[near])
            beside[one] = abs(middle_right[one] - course) > self.most_mm + _LEAN * gap[one]
        return beside


class DropBesideColumnd(MapTransform):
    """Dictionary form of `DropBesideColumn`."""

    def __init__(
        self, keys: KeysCollection, within_mm: float, most_mm: float, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.drop = DropBesideColumn(within_mm, most_mm)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the masks at ``keys`` without what lies beside."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.drop(out[key])
        return out
