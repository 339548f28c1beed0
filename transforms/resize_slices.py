"""Resize slices to a height and width whatever their size, smoothed before shrinking, and back to the source grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.transforms import InvertibleTransform, MapTransform
from monai.transforms.utils import scale_affine
from monai.utils import TraceKeys, convert_to_dst_type, convert_to_tensor, ensure_tuple_rep

_MODES = ("linear", "nearest")


class ResizeSlices(InvertibleTransform):
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
        self.mode = _checked_mode(mode)

    def __call__(self, image: torch.Tensor, mode: str | None = None) -> torch.Tensor:
        """Return the resized image of an image (C, H, W) or (C, H, W, D)."""
        mode = self.mode if mode is None else _checked_mode(mode)
        source: torch.Tensor = convert_to_tensor(image, track_meta=get_track_meta())
        source_size = tuple(source.shape[1:])
        affine = scale_affine(source_size, (*self.size, *source_size[2:]), align_corners=False)
        trace = {"mode": mode}
        if isinstance(source, MetaTensor):
            trace["source_affine"] = source.affine.clone()
        values = _resized(source, self.size, mode)
        resized: torch.Tensor = self.push_transform(values, orig_size=source_size, affine=affine, extra_info=trace)
        return resized

    def inverse(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image on the source grid: its shape and its affine, exactly.

        Raises:
            RuntimeError: the image wasn't resized by this transform.
        """
        applied = self.pop_transform(image)
        source_size = tuple(int(n) for n in applied[TraceKeys.ORIG_SIZE])
        values = _resized(image, source_size[:2], applied[TraceKeys.EXTRA_INFO]["mode"])
        affine = scale_affine(image.shape[1:], source_size, align_corners=False)
        with self.trace_transform(False):
            restored = self.push_transform(values, affine=affine)
        restored.affine = applied[TraceKeys.EXTRA_INFO]["source_affine"]  # free of the rounding of two products
        out: torch.Tensor = restored
        return out


class ResizeSlicesd(MapTransform, InvertibleTransform):
    """Dictionary form of `ResizeSlices`; ``mode`` is one for all keys or one per key."""

    def __init__(
        self,
        keys: KeysCollection,
        size: Sequence[int],
        mode: str | Sequence[str] = "linear",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.resize = ResizeSlices(size)
        self.mode = tuple(_checked_mode(m) for m in ensure_tuple_rep(mode, len(self.keys)))

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the entries at ``keys`` resized."""
        out = dict(data)
        for key, mode in self.key_iterator(out, self.mode):
            out[key] = self.resize(out[key], mode)
        return out

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the entries at ``keys`` back on their source grids."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.resize.inverse(out[key])
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


def _checked_mode(mode: str) -> str:
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}.")
    return mode
