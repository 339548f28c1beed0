"""Gaussian blur of grey images by OpenCV, slice by slice on volumes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import cv2
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from radseg.transforms.planes import Values, as_8_bit, as_grey, change_planes, checked_slice_axis


class GaussianBlur(Transform):
    """Blur every image plane exactly as ``cv2.GaussianBlur`` does, values beyond the edge mirrored.

    An image of type uint8 stays so and is rounded as OpenCV rounds 8-bit pictures; any other becomes float32 and isn't
    rounded, unless ``eight_bit`` asks for it. MONAI's ``GaussianSmooth`` blurs in torch, several times slower, and
    only float images. The lung radiography paper blurs first of all and gives no size; the default is the project's.

    Args:
        kernel_size: odd number of pixels a side; ``None`` takes as many as ``sigma`` needs.
        sigma: standard deviation in pixels; ``None`` takes OpenCV's own kernel of that size: fixed weights up to 9
            pixels (1 4 6 4 1 for 5), beyond them a sigma of 0.15 · size + 0.35.
        slice_axis: the axis along which planes are stacked in a 4-D tensor: −1 for (C, H, W, D), 1 for (B, C, H, W).
        eight_bit: make it an 8-bit picture first: values, which must lie in 0 to 255, are clipped to that range and
            rounded, and the result is uint8, as in a chain of OpenCV calls on a picture file.

    Raises:
        ValueError: a size isn't odd and positive, sigma isn't positive, both are ``None``, or ``slice_axis`` names
            the first axis.
    """

    def __init__(
        self, kernel_size: int | None = 5, sigma: float | None = None, slice_axis: int = -1, eight_bit: bool = False
    ) -> None:
        if kernel_size is None and sigma is None:
            raise ValueError("kernel_size or sigma must be given.")
        if kernel_size is not None and (kernel_size < 1 or kernel_size % 2 == 0):
            raise ValueError(f"kernel_size must be an odd number of pixels or None, got {kernel_size}.")
        if sigma is not None and not sigma > 0:
            raise ValueError(f"sigma must be positive or None, got {sigma}.")
        self.kernel_size = kernel_size
        self.sigma = None if sigma is None else float(sigma)
        self.slice_axis = checked_slice_axis(slice_axis)
        self.eight_bit = eight_bit

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the blurred image of an image (C, H, W) or (C, H, W, D), metadata kept.

        Raises:
            ValueError: the image has neither three nor four axes.
        """
        prepare = as_8_bit if self.eight_bit else as_grey
        return change_planes("GaussianBlur", image, self.slice_axis, prepare, self._blurred)

    def _blurred(self, plane: Values) -> Values:
        size = self.kernel_size or 0  # OpenCV's sign for "derive it", of the size as of sigma
        blurred: Values = cv2.GaussianBlur(plane, (size, size), self.sigma or 0.0)
        return blurred


class GaussianBlurd(MapTransform):
    """Dictionary form of `GaussianBlur`."""

    def __init__(
        self,
        keys: KeysCollection,
        kernel_size: int | None = 5,
        sigma: float | None = None,
        slice_axis: int = -1,
        eight_bit: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.blur = GaussianBlur(kernel_size, sigma, slice_axis, eight_bit)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the images at ``keys`` blurred."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.blur(out[key])
        return out
