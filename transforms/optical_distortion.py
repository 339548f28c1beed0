"""Optical distortion: the barrel or pincushion bend of a lens, as augmentation of images and their masks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.transforms import MapTransform, RandomizableTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor, ensure_tuple_rep

_MODES = ("bilinear", "nearest")
_PADDING_MODES = ("border", "zeros", "reflection")


class OpticalDistortion(Transform):
    r"""Bend an image radially about its centre with the Brown–Conrady model.

    A pixel at :math:`p`, measured from the centre in halves of the longer side, takes the value of the source at

    .. math:: p\,(1 + k_1 r^2 + k_2 r^4), \qquad r = |p|

    (Brown, Photogrammetric Engineering 32(3), 1966). Positive coefficients give a barrel, negative ones a pincushion.
    On a volume (C, H, W, D) every slice along D is bent in its (H, W) plane by the same field.

    Args:
        k1: coefficient of r².
        k2: coefficient of r⁴.
        mode: ``"bilinear"`` (result float32) or ``"nearest"`` (dtype kept; for labels).
        padding_mode: values beyond the image's edge: ``"border"``, ``"zeros"`` or ``"reflection"``.

    Raises:
        ValueError: the coefficients fold the image over itself, or a mode is unknown.
    """

    def __init__(self, k1: float = 0.0, k2: float = 0.0, mode: str = "bilinear", padding_mode: str = "border") -> None:
        if _folds(k1, k2):
            raise ValueError(f"k1={k1} and k2={k2} fold the image over itself; take smaller coefficients.")
        self.k1, self.k2 = float(k1), float(k2)
        self.mode = _checked(mode, _MODES, "mode")
        self.padding_mode = _checked(padding_mode, _PADDING_MODES, "padding_mode")

    def __call__(self, image: torch.Tensor, mode: str | None = None) -> torch.Tensor:
        """Return the bent image of an image (C, H, W) or (C, H, W, D), metadata kept; ``mode`` overrides.

        Raises:
            ValueError: the image has neither three nor four axes.
        """
        mode = self.mode if mode is None else _checked(mode, _MODES, "mode")
        source: torch.Tensor = convert_to_tensor(image, track_meta=get_track_meta())
        if source.ndim not in (3, 4):
            raise ValueError(f"optical distortion takes (C, H, W) or (C, H, W, D), got shape {tuple(source.shape)}.")
        values = source.as_tensor() if isinstance(source, MetaTensor) else source
        planes = values.movedim(-1, 1).flatten(0, 1) if source.ndim == 4 else values
        grid = self._grid(planes.shape[1], planes.shape[2], planes.device)
        bent = F.grid_sample(
            planes.to(torch.float32)[None], grid[None], mode=mode, padding_mode=self.padding_mode, align_corners=False
        )[0]
        if source.ndim == 4:
            bent = bent.reshape(source.shape[0], source.shape[3], *bent.shape[1:]).movedim(1, -1)
        dtype = source.dtype if mode == "nearest" else torch.float32
        out: torch.Tensor = convert_to_dst_type(bent, source, dtype=dtype)[0]
        return out

    def _grid(self, height: int, width: int, device: torch.device) -> torch.Tensor:
        """Return where each pixel's value is taken, (H, W, 2) as x, y in halves of width and height from the centre."""
        y = (2 * torch.arange(height, device=device) + 1) / height - 1
        x = (2 * torch.arange(width, device=device) + 1) / width - 1
        longer = max(height, width)
        r2 = (y[:, None] * (height / longer)) ** 2 + (x[None, :] * (width / longer)) ** 2
        scale = 1 + self.k1 * r2 + self.k2 * r2**2
        return torch.stack((x[None, :] * scale, y[:, None] * scale), dim=-1)


class OpticalDistortiond(MapTransform):
    """Dictionary form of `OpticalDistortion`; ``mode`` is one for all keys or one per key."""

    def __init__(
        self,
        keys: KeysCollection,
        k1: float = 0.0,
        k2: float = 0.0,
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str = "border",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mode = tuple(_checked(m, _MODES, "mode") for m in ensure_tuple_rep(mode, len(self.keys)))
        self.distortion = OpticalDistortion(k1, k2, padding_mode=padding_mode)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the entries at ``keys`` bent by one field."""
        out = dict(data)
        for key, mode in self.key_iterator(out, self.mode):
            out[key] = self.distortion(out[key], mode)
        return out


class RandOpticalDistortion(RandomizableTransform):
    """Sample the coefficients of an `OpticalDistortion` and apply it.

    Args:
        prob: probability that an image is bent.
        k1_range: range of k1, uniform; a number ``a`` means (−a, a).
        k2_range: range of k2, likewise.
        mode: ``"bilinear"`` or ``"nearest"``.
        padding_mode: ``"border"``, ``"zeros"`` or ``"reflection"``.

    Raises:
        ValueError: a range is reversed, some coefficients in it fold the image, or a mode is unknown.
    """

    def __init__(
        self,
        prob: float = 0.1,
        k1_range: float | Sequence[float] = 0.1,
        k2_range: float | Sequence[float] = 0.0,
        mode: str = "bilinear",
        padding_mode: str = "border",
    ) -> None:
        super().__init__(prob)
        self.k1_range, self.k2_range = _range(k1_range, "k1_range"), _range(k2_range, "k2_range")
        # whether a pair folds is linear in the pair, so the four corners speak for all in between
        if any(_folds(k1, k2) for k1 in self.k1_range for k2 in self.k2_range):
            raise ValueError(f"k1_range={self.k1_range} and k2_range={self.k2_range} can fold the image over itself.")
        self.mode = _checked(mode, _MODES, "mode")
        self.padding_mode = _checked(padding_mode, _PADDING_MODES, "padding_mode")
        self.k1, self.k2 = 0.0, 0.0

    def randomize(self, data: Any = None) -> None:
        """Decide whether to bend, and sample the coefficients."""
        super().randomize(None)
        if self._do_transform:
            self.k1 = float(self.R.uniform(*self.k1_range))
            self.k2 = float(self.R.uniform(*self.k2_range))

    def __call__(self, image: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        """Return the image, bent or as it is; ``randomize=False`` repeats the last sample."""
        if randomize:
            self.randomize()
        if not self._do_transform:
            out: torch.Tensor = convert_to_tensor(image, track_meta=get_track_meta())
            return out
        return OpticalDistortion(self.k1, self.k2, self.mode, self.padding_mode)(image)


class RandOpticalDistortiond(RandomizableTransform, MapTransform):
    """Dictionary form of `RandOpticalDistortion`: one sample bends all keys; ``mode`` is one for all or one per key."""

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        k1_range: float | Sequence[float] = 0.1,
        k2_range: float | Sequence[float] = 0.0,
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str = "border",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.mode = tuple(_checked(m, _MODES, "mode") for m in ensure_tuple_rep(mode, len(self.keys)))
        self.sampler = RandOpticalDistortion(1.0, k1_range, k2_range, padding_mode=padding_mode)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandOpticalDistortiond:
        """Seed the decision and the sampled coefficients."""
        super().set_random_state(seed, state)
        self.sampler.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the entries at ``keys`` bent by one field, or as they are."""
        out = dict(data)
        self.randomize(None)
        if self._do_transform:
            self.sampler.randomize()
        bend = OpticalDistortion(self.sampler.k1, self.sampler.k2, padding_mode=self.sampler.padding_mode)
        for key, mode in self.key_iterator(out, self.mode):
            if self._do_transform:
                out[key] = bend(out[key], mode)
            else:
                out[key] = convert_to_tensor(out[key], track_meta=get_track_meta())
        return out


def _folds(k1: float, k2: float) -> bool:
    """Say whether the source radius r (1 + k1 r² + k2 r⁴) stops growing with r before a square's corner, r² = 2."""
    turning = -3 * k1 / (10 * k2) if k2 else 0.0
    return any(1 + 3 * k1 * q + 5 * k2 * q**2 <= 0 for q in (0.0, 2.0, min(max(turning, 0.0), 2.0)))


def _range(limits: float | Sequence[float], name: str) -> tuple[float, float]:
    low, high = limits if isinstance(limits, Sequence) else (-abs(limits), abs(limits))
    if not low <= high:
        raise ValueError(f"{name} must be (low, high), got {limits}.")
    return float(low), float(high)


def _checked(value: str, allowed: Sequence[str], name: str) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
    return value
