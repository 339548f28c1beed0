"""What transforms that change an image's grid share: the record by which MONAI's Invertd finds the way back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.transforms.utils import scale_affine
from monai.utils import TraceKeys

MODES = ("linear", "nearest")


class Regrid(InvertibleTransform):
    """A transform that resizes an image along its own axes, its outer borders staying in place.

    A subclass says in `interpolated` how values are computed, forwards and back.
    """

    @abstractmethod
    def interpolated(self, image: torch.Tensor, size: Sequence[int], mode: str) -> torch.Tensor:
        """Return the image (C, *spatial) with that spatial size."""

    def resized(self, source: torch.Tensor, size: Sequence[int], mode: str) -> torch.Tensor:
        """Return the image with that spatial size, its affine adapted and the way back recorded."""
        source_size = tuple(source.shape[1:])
        trace: dict[str, object] = {"mode": mode}
        if isinstance(source, MetaTensor):
            trace["source_affine"] = source.affine.clone()
        values = self.interpolated(source, size, mode)
        affine = scale_affine(source_size, size, align_corners=False)
        out: torch.Tensor = self.push_transform(values, orig_size=source_size, affine=affine, extra_info=trace)
        return out

    def inverse(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image on the source grid: its shape and its affine, exactly.

        Raises:
            RuntimeError: the image's grid wasn't changed by this transform.
        """
        applied = self.pop_transform(image)
        source_size = tuple(int(n) for n in applied[TraceKeys.ORIG_SIZE])
        values = self.interpolated(image, source_size, applied[TraceKeys.EXTRA_INFO]["mode"])
        affine = scale_affine(image.shape[1:], source_size, align_corners=False)
        with self.trace_transform(False):
            restored = self.push_transform(values, affine=affine)
        restored.affine = applied[TraceKeys.EXTRA_INFO]["source_affine"]  # free of the rounding of two products
        out: torch.Tensor = restored
        return out


class Regridd(MapTransform, InvertibleTransform):
    """Dictionary form; a subclass sets `regrid` and says how entries are changed."""

    regrid: Regrid

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the entries at ``keys`` back on their source grids."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.regrid.inverse(out[key])
        return out


def checked_mode(mode: str) -> str:
    """Return the interpolation mode when it is known.

    Raises:
        ValueError: it isn't.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}.")
    return mode
