"""Make an integer mask binary: one label of it, or all of them together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.data import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_tensor


class KeepLabel(Transform):
    """Turn an integer mask into 0 and 1: 1 where the mask equals ``label``.

    Shape, dtype and metadata of the mask stay (MONAI's ``LabelToMask`` gives a boolean, and has no form that lets a
    mask through as it is, which a config needs to switch between one label and all).

    Args:
        label: the label to keep, ``"any"`` for all of them as one, or ``None`` to leave the mask as it is.

    Raises:
        TypeError: ``label`` is none of these.
    """

    def __init__(self, label: int | str | None) -> None:
        if label not in (None, "any") and (isinstance(label, bool) or not isinstance(label, int)):
            raise TypeError(f'label must be an integer, "any" or None, got {label!r}.')
        self.label = label

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the binary mask of a mask (C, H, W) or (C, H, W, D)."""
        kept: torch.Tensor = convert_to_tensor(mask, track_meta=get_track_meta())
        if self.label is None:
            return kept
        chosen = torch.gt(kept, 0) if self.label == "any" else torch.eq(kept, int(self.label))
        return chosen.to(kept.dtype)


class KeepLabeld(MapTransform):
    """Dictionary form of `KeepLabel`."""

    def __init__(self, keys: KeysCollection, label: int | str | None, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.keep_label = KeepLabel(label)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the masks at ``keys`` made binary."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.keep_label(out[key])
        return out
