"""Tensors in and out of a transform with their metadata and without a copy.

MONAI's ``convert_to_tensor`` and ``convert_to_dst_type`` make every tensor contiguous in C order. A NIfTI volume
lies in Fortran order: each call would copy and transpose the whole of it.
"""

from __future__ import annotations

import torch
from monai.data import MetaTensor, get_track_meta
from monai.utils import convert_to_tensor


def tracked(image: torch.Tensor) -> torch.Tensor:
    """Return the image as it is where it is a tensor of the kind that MONAI tracks now, else as one."""
    wanted = MetaTensor if get_track_meta() else torch.Tensor
    if type(image) is wanted:
        return image
    converted: torch.Tensor = convert_to_tensor(image, track_meta=get_track_meta())
    return converted


def plain(image: torch.Tensor) -> torch.Tensor:
    """Return the image without metadata, sharing its memory."""
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def like(values: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return plain values with the metadata of an image, if it has any, sharing their memory."""
    if not isinstance(image, MetaTensor):
        return values
    # what convert_to_dst_type does, without building an affine first that is then replaced: a tenth of its time
    kept: torch.Tensor = values.as_subclass(MetaTensor)
    kept.copy_meta_from(image)  # type: ignore[attr-defined]
    return kept
