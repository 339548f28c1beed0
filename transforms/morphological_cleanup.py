"""Smooth a predicted mask by morphological opening and closing, sized relative to the image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from radseg.transforms.planes import Values, change_planes, checked_slice_axis


class MorphologicalCleanup(Transform):
    """Open, then close each label of a mask plane with a disc.

    Opening removes specks, spikes and bridges thinner than its disc; closing fills gaps, notches and holes thinner
    than its. Diameters are shares of the plane's shorter side, so that they mean the same on 256 and on 3,000 pixels;
    a disc that covers no neighbouring pixel does nothing. Labels don't grow over each other: closing takes background
    only, and of two labels that would take the same pixel the smaller number does. What lies beyond the edge neither
    erodes nor grows. The lung radiography paper names morphological filters; the sizes are the project's. Pieces
    are dropped and holes of any size filled by `CleanLabel`.

    The discs work through OpenCV's exact distance transform, whose time doesn't depend on their size.

    Args:
        opening: diameter of the opening disc as share of the plane's shorter side; 0 leaves opening out.
        closing: diameter of the closing disc likewise.
        slice_axis: the axis along which planes are stacked in a 4-D tensor: −1 for (C, H, W, D), 1 for (B, C, H, W).

    Raises:
        ValueError: a share isn't at least 0 and below 1, or ``slice_axis`` names the first axis.
    """

    def __init__(self, opening: float = 0.01, closing: float = 0.02, slice_axis: int = -1) -> None:
        for name, share in (("opening", opening), ("closing", closing)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be a share of at least 0 and below 1, got {share}.")
        self.opening, self.closing = float(opening), float(closing)
        self.slice_axis = checked_slice_axis(slice_axis)

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the smoothed mask of a mask (C, H, W) or (C, H, W, D); shape, dtype and metadata stay.

        Raises:
            ValueError: the mask has neither three nor four axes, or holds values that aren't whole numbers.
        """
        return change_planes("MorphologicalCleanup", mask, self.slice_axis, _whole, self._smoothed)

    def _smoothed(self, plane: Values) -> Values:
        open_radius, close_radius = (share * min(plane.shape) / 2 for share in (self.opening, self.closing))
        smoothed = np.zeros_like(plane)
        for label in np.unique(plane[plane > 0]):
            piece = (plane == label).astype(np.uint8)
            piece = _dilated(_eroded(piece, open_radius), open_radius)
            piece = _eroded(_dilated(piece, close_radius), close_radius)
            free = (smoothed == 0) & ((plane == 0) | (plane == label))
            smoothed[free & (piece > 0)] = label
        return smoothed


class MorphologicalCleanupd(MapTransform):
    """Dictionary form of `MorphologicalCleanup`."""

    def __init__(
        self,
        keys: KeysCollection,
        opening: float = 0.01,
        closing: float = 0.02,
        slice_axis: int = -1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.cleanup = MorphologicalCleanup(opening, closing, slice_axis)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the masks at ``keys`` smoothed."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.cleanup(out[key])
        return out


def _whole(values: Values) -> Values:
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise ValueError("morphological clean-up takes an integer mask; this one holds fractions: threshold it first.")
    return values


def _eroded(mask: Values, radius: float) -> Values:
    """Keep the pixels of a uint8 mask whose nearest background lies farther than the radius."""
    if radius < 1:
        return mask
    kept: Values = (cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > radius).astype(np.uint8)
    return kept


def _dilated(mask: Values, radius: float) -> Values:
    return 1 - _eroded(1 - mask, radius)
