"""From probability to mask: a global threshold, and a local one that also takes what stands out of its surroundings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from radseg.transforms.planes import Values, as_8_bit, as_float32, change_planes, checked_slice_axis


class ThresholdProbability(Transform):
    r"""Make a mask as the union of a global and a local threshold, as the lung radiography paper does.

    A pixel of probability :math:`p` is foreground where

    .. math:: p \ge t \quad\text{or}\quad \left(p \ge f \;\text{and}\; p > \bar p + o\right)

    with the threshold :math:`t` and the mean :math:`\bar p` of a square block around the pixel, computed by
    ``cv2.adaptiveThreshold`` on 8 bits, so that mean and offset :math:`o` go in steps of 1/255. The floor :math:`f`
    keeps faint ripples on empty background out, which a local threshold alone would make foreground. The paper names
    the two methods and their union; all numbers are the project's.

    Args:
        threshold: the global threshold.
        local_block: side of the block as share of the plane's shorter side, so that it means the same at every image
            size (at least 3 pixels, rounded to an odd number); ``None`` switches the local threshold off.
        local_offset: how far a pixel must exceed the mean of its block.
        local_floor: the least probability that the local threshold takes.
        slice_axis: the axis along which planes are stacked in a 4-D tensor: −1 for (C, H, W, D), 1 for (B, C, H, W).

    Raises:
        ValueError: a threshold, offset or floor isn't between 0 and 1, the floor or threshold is 0, the block isn't a
            share above 0 and up to 1, or ``slice_axis`` names the first axis.
    """

    def __init__(
        self,
        threshold: float = 0.5,
        local_block: float | None = 0.2,
        local_offset: float = 0.05,
        local_floor: float = 0.3,
        slice_axis: int = -1,
    ) -> None:
        for name, value in (("threshold", threshold), ("local_floor", local_floor)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and up to 1, got {value}.")
        if local_block is not None and not 0 < local_block <= 1:
            raise ValueError(f"local_block must be a share above 0 and up to 1, or None, got {local_block}.")
        if not 0 <= local_offset <= 1:
            raise ValueError(f"local_offset must be between 0 and 1, got {local_offset}.")
        self.threshold = float(threshold)
        self.local_block = None if local_block is None else float(local_block)
        self.local_offset, self.local_floor = float(local_offset), float(local_floor)
        self.slice_axis = checked_slice_axis(slice_axis)

    def __call__(self, probability: torch.Tensor) -> torch.Tensor:
        """Return the mask of probabilities (C, H, W) or (C, H, W, D), 0 and 1 as float32, metadata kept.

        Raises:
            ValueError: the image has neither three nor four axes.
        """
        return change_planes("ThresholdProbability", probability, self.slice_axis, as_float32, self._mask)

    def _mask(self, plane: Values) -> Values:
        mask = plane >= np.float32(self.threshold)
        if self.local_block is not None:
            block = max(3, round(self.local_block * min(plane.shape)) // 2 * 2 + 1)
            stands_out = cv2.adaptiveThreshold(
                as_8_bit(255 * plane), 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, block, -255 * self.local_offset
            )
            mask |= (stands_out > 0) & (plane >= np.float32(self.local_floor))
        return mask.astype(np.float32)


class ThresholdProbabilityd(MapTransform):
    """Dictionary form of `ThresholdProbability`."""

    def __init__(
        self,
        keys: KeysCollection,
        threshold: float = 0.5,
        local_block: float | None = 0.2,
        local_offset: float = 0.05,
        local_floor: float = 0.3,
        slice_axis: int = -1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask = ThresholdProbability(threshold, local_block, local_offset, local_floor, slice_axis)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the probabilities at ``keys`` turned into masks."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.mask(out[key])
        return out
