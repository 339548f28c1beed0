"""Contrast-limited adaptive histogram equalisation (CLAHE) of 8-bit images, slice by slice on volumes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import cv2
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from radseg.transforms.planes import as_8_bit, as_float32, change_planes, checked_slice_axis


class CLAHE(Transform):
    """Equalise the local contrast of grey images with OpenCV's 8-bit CLAHE (Zuiderveld, Graphics Gems IV, 1994).

    Values are 0 to 255 before and after; they are clipped to that range and rounded, so window a CT first
    (`WindowHU` with ``out_max=255``). Every image plane is equalised by itself, exactly as ``cv2.createCLAHE`` does.

    Args:
        clip_limit: how far a histogram bin may exceed the mean bin before it is clipped.
        tiles: rows and columns of tiles that the image plane is divided into.
        slice_axis: the axis along which planes are stacked in a 4-D tensor: −1 for a volume (C, H, W, D) of axial
            slices, 1 for a batch (B, C, H, W). A 3-D tensor (C, H, W) has one plane per channel whatever is given.

    Raises:
        ValueError: the clip limit or a tile count isn't positive, or ``slice_axis`` names the first axis.
    """

    def __init__(self, clip_limit: float = 2.0, tiles: Sequence[int] = (8, 8), slice_axis: int = -1) -> None:
        if not clip_limit > 0:
            raise ValueError(f"clip_limit must be positive, got {clip_limit}.")
        if len(tiles) != 2 or min(tiles) < 1:
            raise ValueError(f"tiles must be two positive numbers (rows, columns), got {tuple(tiles)}.")
        self.clip_limit = float(clip_limit)
        self.tiles = (int(tiles[0]), int(tiles[1]))
        self.slice_axis = checked_slice_axis(slice_axis)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the equalised image of an image (C, H, W) or (C, H, W, D), float32, metadata kept.

        Raises:
            ValueError: the image has neither three nor four axes.
        """
        # made here and not in __init__: an OpenCV object can neither be pickled nor shared by threads
        clahe = cv2.createCLAHE(clipLimit=self.clip_limit, tileGridSize=(self.tiles[1], self.tiles[0]))
        return change_planes("CLAHE", image, self.slice_axis, as_8_bit, lambda plane: as_float32(clahe.apply(plane)))


class CLAHEd(MapTransform):
    """Dictionary form of `CLAHE`."""

    def __init__(
        self,
        keys: KeysCollection,
        clip_limit: float = 2.0,
        tiles: Sequence[int] = (8, 8),
        slice_axis: int = -1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clahe = CLAHE(clip_limit, tiles, slice_axis)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the images at ``keys`` equalised."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.clahe(out[key])
        return out
