"""Map a window of Hounsfield units to a grey range, as a viewer does, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from radseg.transforms.tracked import like, plain, tracked

GREY_MAX = 255.0


class WindowHU(Transform):
    r"""Clip CT values to a window and scale it to an output range.

    .. math:: y = y_0 + (y_1 - y_0)\,\frac{\min(\max(x, l), u) - l}{u - l}

    with the window :math:`[l, u]` in HU and the output range :math:`[y_0, y_1]`. An image whose metadata say
    ``units == "grey"`` was windowed before it was stored (8-bit PNG, JPEG): for it :math:`[l, u]` is [0, 255].

    The inverse exists inside the window: what was clipped comes back as the window's edge. It isn't traced as an
    applied operation, because ``Invertd`` would then turn a predicted mask into Hounsfield units.

    Args:
        lower_hu: lower edge of the window, HU.
        upper_hu: upper edge of the window, HU.
        out_min: value of the lower edge.
        out_max: value of the upper edge.
        levels: round to this many equal steps (256 with a range of 0 to 255 is an 8-bit image); ``None`` doesn't round.
        in_place: write over the image that is given where it is float32, which saves a copy of a large volume that
            nobody else needs, such as the one that resampling has just made.

    Raises:
        ValueError: the window or the output range is empty or reversed, or there are fewer than two levels.
    """

    def __init__(
        self,
        lower_hu: float,
        upper_hu: float,
        out_min: float = 0.0,
        out_max: float = 1.0,
        levels: int | None = None,
        in_place: bool = False,
    ) -> None:
        if not lower_hu < upper_hu:
            raise ValueError(f"lower_hu must be below upper_hu, got {lower_hu} and {upper_hu}.")
        if not out_min < out_max:
            raise ValueError(f"out_min must be below out_max, got {out_min} and {out_max}.")
        if levels is not None and levels < 2:
            raise ValueError(f"levels must be at least 2 or None, got {levels}.")
        self.lower_hu, self.upper_hu = float(lower_hu), float(upper_hu)
        self.out_min, self.out_max = float(out_min), float(out_max)
        self.levels = levels
        self.in_place = in_place

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the windowed image of an image of any shape, float32, metadata kept."""
        hu = tracked(image)
        lower, upper = self._source_range(image)
        # in place from here on: the copy to float32 is the only one a large volume needs
        unit = plain(hu).to(torch.float32, copy=not self.in_place).clamp_(lower, upper).sub_(lower).div_(upper - lower)
        if self.levels is not None:
            unit.mul_(self.levels - 1).round_().div_(self.levels - 1)
        windowed = unit.mul_(self.out_max - self.out_min).add_(self.out_min)
        return like(windowed, hu)

    def inverse(self, image: torch.Tensor) -> torch.Tensor:
        """Return HU (or 0 to 255 for a grey image) of a windowed image of any shape, float32, metadata kept."""
        windowed = tracked(image)
        lower, upper = self._source_range(image)
        return (windowed.to(torch.float32) - self.out_min) / (self.out_max - self.out_min) * (upper - lower) + lower

    def _source_range(self, image: torch.Tensor) -> tuple[float, float]:
        if isinstance(image, MetaTensor) and image.meta.get("units") == "grey":
            return 0.0, GREY_MAX
        return self.lower_hu, self.upper_hu


class WindowHUd(MapTransform):
    """Dictionary form of `WindowHU`."""

    def __init__(
        self,
        keys: KeysCollection,
        lower_hu: float,
        upper_hu: float,
        out_min: float = 0.0,
        out_max: float = 1.0,
        levels: int | None = None,
        allow_missing_keys: bool = False,
        in_place: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = WindowHU(lower_hu, upper_hu, out_min, out_max, levels, in_place)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the images at ``keys`` windowed."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.window(out[key])
        return out

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the windowed images at ``keys`` back in HU."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.window.inverse(out[key])
        return out
