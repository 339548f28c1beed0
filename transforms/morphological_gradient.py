"""Morphological gradient: edges of grey images as dilation minus erosion, by OpenCV, slice by slice on volumes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import cv2
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from radseg.transforms.planes import Values, as_8_bit, as_grey, change_planes, checked_slice_axis


class MorphologicalGradient(Transform):
    """Take the difference of the largest and the smallest value around each pixel, once or again on its own result.

    Exactly ``cv2.morphologyEx`` with ``MORPH_GRADIENT`` and a square element. An image of type uint8 stays so; any
    other becomes float32, unless ``eight_bit`` asks for 8 bits. The lung radiography paper applies it twice after its
    blur; the size is the project's, the text gives none.

    Args:
        size: pixels a side of the square around each pixel, odd.
        times: how often it is applied; 2 gives the edges of the edges, 0 leaves the image as it is.
        slice_axis: the axis along which planes are stacked in a 4-D tensor: −1 for (C, H, W, D), 1 for (B, C, H, W).
        eight_bit: make it an 8-bit picture first: values, which must lie in 0 to 255, are clipped to that range and
            rounded, and the result is uint8, as in a chain of OpenCV calls on a picture file.

    Raises:
        ValueError: the size isn't odd and at least 3, ``times`` is negative, or ``slice_axis`` names the first axis.
    """

    def __init__(self, size: int = 3, times: int = 1, slice_axis: int = -1, eight_bit: bool = False) -> None:
        if size < 3 or size % 2 == 0:
            raise ValueError(f"size must be an odd number of pixels of at least 3, got {size}.")
        if times < 0:
            raise ValueError(f"times must be at least 0, got {times}.")
        self.size = size
        self.times = times
        self.slice_axis = checked_slice_axis(slice_axis)
        self.eight_bit = eight_bit

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the edges of an image (C, H, W) or (C, H, W, D), never negative, metadata kept.

        Raises:
            ValueError: the image has neither three nor four axes.
        """
        prepare = as_8_bit if self.eight_bit else as_grey
        return change_planes("MorphologicalGradient", image, self.slice_axis, prepare, self._edges)

    def _edges(self, plane: Values) -> Values:
        element = cv2.getStructuringElement(cv2.MORPH_RECT, (self.size, self.size))
        for _ in range(self.times):
            plane = cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, element)
        return plane if self.times else plane.copy()


class MorphologicalGradientd(MapTransform):
    """Dictionary form of `MorphologicalGradient`."""

    def __init__(
        self,
        keys: KeysCollection,
        size: int = 3,
        times: int = 1,
        slice_axis: int = -1,
        eight_bit: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.gradient = MorphologicalGradient(size, times, slice_axis, eight_bit)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the images at ``keys`` turned into their edges."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.gradient(out[key])
        return out
