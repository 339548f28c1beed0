"""Label maps that tell vertebrae apart, and their way back to the labels of the spine bundle."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from radseg.transforms.tracked import like, plain, tracked

INTACT, FRACTURED = 100, 200
"""A numbered map holds 100 + its number for an intact vertebra and 200 + its number for a fractured one.

The numbers are VerSe's: 1 to 7 cervical, 8 to 19 thoracic, 20 to 25 lumbar, 28 a thirteenth thoracic one. 1 and 2, the
bundle's own labels, stand for vertebrae and fractured vertebrae that aren't told apart.
"""
_MOST = 28
THORACOLUMBAR = (*range(8, 26), 28)
"""The numbers of T1 to L6 and T13, where the fractures of osteoporosis are."""


def is_vertebra(label: int) -> bool:
    """Say whether a numbered map may hold a value for a vertebra."""
    return label in (1, 2) or INTACT < label <= INTACT + _MOST or FRACTURED < label <= FRACTURED + _MOST


class VertebraLabels(Transform):
    """Turn a numbered map into the bundle's labels: 1 vertebra, 2 fractured vertebra; these themselves stay.

    Args:
        fractures_only: label the fractured ones 1 and nothing else.
    """

    def __init__(self, fractures_only: bool = False) -> None:
        self.fractures_only = fractures_only

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the map of a map (C, H, W) or (C, H, W, D), dtype and metadata kept; other values stay as they are."""
        source = tracked(mask)
        values = plain(source)
        named = values.clone()
        named[(values > INTACT) & (values <= INTACT + _MOST)] = 1
        named[(values > FRACTURED) & (values <= FRACTURED + _MOST)] = 2
        if self.fractures_only:
            named = (named == 2).to(named.dtype)
        return like(named, source)


class VertebraLabelsd(MapTransform):
    """Dictionary form of `VertebraLabels`."""

    def __init__(self, keys: KeysCollection, fractures_only: bool = False, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.labels = VertebraLabels(fractures_only)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with the maps at ``keys`` in the bundle's labels."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.labels(out[key])
        return out
