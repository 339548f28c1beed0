"""Drop what lies far from the rest of a mask and is small beside it, such as marks in other bones than the spine."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from radseg.transforms.pieces import find_pieces
from radseg.transforms.resample import spacing_of
from radseg.transforms.tracked import like, plain, tracked
from radseg.transforms.whole_numbers import check_whole_numbers, whole_numbers


class DropStray(Transform):
    """Drop groups of pieces that are small beside the largest group.

    A piece is a connected component of one label, corners counted as contact. Pieces of any label that lie near each
    other are one group, and so are those that others link: vertebrae make a column, whatever their labels, and however
    small those of a neck are beside those of a loin. Nearness is judged by blocks of half of ``within_mm``: a gap
    below half of it along each axis links, one that is longer than it by a voxel along any doesn't, and between the two
    it depends on where the blocks lie.

    Args:
        within_mm: how far apart linked pieces may be.
        min_share: the smallest group that stays, as a share of the largest one's voxels, 0 to 1; 0 keeps all.

    Raises:
        ValueError: ``within_mm`` isn't positive, or ``min_share`` isn't from 0 to 1.
    """

    def __init__(self, within_mm: float, min_share: float) -> None:
        if not 0 < within_mm < float("inf"):
            raise ValueError(f"within_mm must be positive, got {within_mm}.")
        if not 0 <= min_share <= 1:
            raise ValueError(f"min_share must be from 0 to 1, got {min_share}.")
        self.within_mm = float(within_mm)
        self.min_share = float(min_share)

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the mask (C, H, W) or (C, H, W, D) without strays; channels, shape, dtype and metadata stay.

        Raises:
            TypeError: the mask is no ``MetaTensor``, so distances aren't known.
            ValueError: it holds values that aren't whole numbers.
        """
        source = tracked(mask)
        if not self.min_share:
            return source
        values = plain(source).numpy(force=True)
        check_whole_numbers(values)
        kept = whole_numbers(values)
        block = [math.ceil(self.within_mm / 2 / spacing) for spacing in spacing_of(mask)]
        for channel in kept:
            pieces = find_pieces(channel)
            group = pieces.groups(block)
            voxels = np.bincount(group, pieces.voxels)
            pieces.clear((voxels < self.min_share * voxels.max(initial=0))[group])
        return like(torch.from_numpy(kept).to(source.device, source.dtype), source)


class DropStrayd(MapTransform):
    """Dictionary form of `DropStray`."""

    def __init__(
        self, keys: KeysCollection, within_mm: float, min_share: float, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.drop = DropStray(within_mm, min_share)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the masks at ``keys`` without strays."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.drop(out[key])
        return out
