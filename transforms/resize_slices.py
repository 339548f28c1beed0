"""Resize slices to a height and width whatever their size, smoothed before shrinking, and back to the source grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.utils import convert_to_dst_type, convert_to_tensor, ensure_tuple_rep

from radseg.transforms.regrid import Regrid, Regridd, checked_mode


class ResizeSlices(Regrid):
    """Resize the first two spatial axes of an image; a third one, the stack of slices, keeps its length.

    Linear interpolation is widened to the new pixel's size where the image shrinks, so that a radiograph of 3,000
    pixels keeps the mean of what becomes one pixel; MONAI's ``Resize`` either skips pixels or, with ``anti_aliasing``,
    blurs the whole image first, which takes a radiograph seconds where this takes hundredths. The outer borders stay.

    Works with ``Invertd``; the way back is linear, or nearest where this was.

    Args:
        size: pixels along the first and the second axis.
        mode: ``"linear"`` (result float32) or ``"nearest"`` (dtype kept; for labels).

    Raises:
        ValueError: a size isn't a positive integer or the mode is unknown.
    """

    def __init__(self, size: Sequence[int], mode: str = "linear") -> None:
        wanted = tuple(size)
        if len(wanted) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in wanted):
            raise ValueError(f"size must be two positive integers, got {size}.")
        self.size = wanted
        self.mode = checked_mode(mode)

    def __call__(self, image: torch.Tensor, mode: str | None = None) -> torch.Tensor:
        """Return the resized image of an image (C, H, W) or (C, H, W, D)."""
        mode = self.mode if mode is None else checked_mode(mode)
        source: torch.Tensor = convert_to_tensor(image, track_meta=get_track_meta())
        return self.resized(source, (*self.size, *source.shape[3:]), mode)

    def interpolated(self, image: torch.Tensor, size: Sequence[int], mode: str) -> torch.Tensor:
        """Return the image with that height and width."""
        return _resized(image, tuple(size[:2]), mode)


class ResizeSlicesd(Regridd):
    """Dictionary form of `ResizeSlices`; ``mode`` is one for all keys or one per key."""

    def __init__(
        self,
        keys: KeysCollection,
        size: Sequence[int],
        mode: str | Sequence[str] = "linear",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.regrid = ResizeSlices(size)
        self.mode = tuple(checked_mode(m) for m in ensure_tuple_rep(mode, len(self.keys)))

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the entries at ``keys`` resized."""
        out = dict(data)
        for key, mode in self.key_iterator(out, self.mode):
            out[key] = self.regrid(out[key], mode)
        return out


def _resized(image: torch.Tensor, size: tuple[int, ...], mode: str) -> torch.Tensor:
    values = image.as_tensor() if isinstance(image, MetaTensor) else image
    if mode == "linear":
        values = values.to(torch.float32)
    if tuple(values.shape[1:3]) != size:
        planes = values.movedim(-1, 1).flatten(0, 1)[:, None] if values.ndim == 4 else values[:, None]
        if mode == "linear":
            planes = F.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=True)
        else:
            dtype = planes.dtype
            planes = F.interpolate(planes.to(torch.float32), size=size, mode="nearest-exact").to(dtype)
        values = planes[:, 0]
        if image.ndim == 4:
            values = values.reshape(image.shape[0], image.shape[3], *size).movedim(1, -1).contiguous()
    out: torch.Tensor = convert_to_dst_type(values, image, dtype=values.dtype)[0]
    return out
