"""Image planes for OpenCV: out of a channel-first tensor, through a function of one plane, and back.

All of it is NumPy: torch would wake its own threads for a conversion, and they then spin beside OpenCV's.
On two busy cores that made the filters of a 299² image several times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from radseg.transforms.tracked import like, plain, tracked

Values = npt.NDArray[Any]
ValuesFunction = Callable[[Values], Values]


def checked_slice_axis(slice_axis: int) -> int:
    """Return the axis along which the planes of a 4-D tensor are stacked.

    Raises:
        ValueError: it isn't a spatial axis.
    """
    if slice_axis not in (-3, -2, -1, 1, 2, 3):
        raise ValueError(f"slice_axis must be a spatial axis of a 4-D tensor (1 to 3 or -3 to -1), got {slice_axis}.")
    return slice_axis


def change_planes(
    taker: str, image: torch.Tensor, slice_axis: int, prepare: ValuesFunction, change: ValuesFunction
) -> torch.Tensor:
    """Apply a function to every plane of an image by itself; device and metadata stay.

    Args:
        taker: the transform's name, for the message.
        image: (C, H, W), one plane per channel, or (C, H, W, D) or (B, C, H, W).
        slice_axis: the axis of a 4-D image along which planes are stacked; a 3-D one doesn't heed it.
        prepare: brings values of any shape to the type that ``change`` takes, without writing to them.
        change: takes a contiguous plane, which it must not write to, and returns a new one of its shape.

    Raises:
        ValueError: another number of axes.
    """
    image = tracked(image)
    # each look at a MetaTensor's attributes costs microseconds, at the plain tensor's none
    untracked = plain(image)
    values = untracked.numpy(force=True)
    if values.ndim not in (3, 4):
        raise ValueError(f"{taker} takes (C, H, W) or (C, H, W, D), got shape {values.shape}.")
    changed = torch.from_numpy(plane_by_plane(values, slice_axis, prepare, change)).to(untracked.device)
    return like(changed, image)


def plane_by_plane(values: Values, slice_axis: int, prepare: ValuesFunction, change: ValuesFunction) -> Values:
    """Return the changed planes of `change_planes` where they were, contiguous."""
    stacked = {0} if values.ndim == 3 else {0, slice_axis % values.ndim}
    if all(values.shape[axis] == 1 for axis in stacked):
        plane = values.reshape([size for axis, size in enumerate(values.shape) if axis not in stacked])
        return change(np.ascontiguousarray(prepare(plane))).reshape(values.shape)
    planes = values[:, None] if values.ndim == 3 else np.moveaxis(values, slice_axis, 1)
    changed, target = None, values[:0]
    for index in np.ndindex(planes.shape[:2]):
        # plane by plane from here on: types between are never held for a whole volume
        plane = change(np.ascontiguousarray(prepare(planes[index])))
        if changed is None:
            changed = np.empty(values.shape, plane.dtype)
            target = changed[:, None] if values.ndim == 3 else np.moveaxis(changed, slice_axis, 1)
        target[index] = plane
    return values if changed is None else changed


def as_float32(values: Values) -> Values:
    """Return values as float32; an array of that type as it is."""
    return values.astype(np.float32, copy=False)


def as_grey(values: Values) -> Values:
    """Return values in a type that OpenCV filters at full precision: uint8 stays, all else is float32."""
    return values if values.dtype == np.uint8 else as_float32(values)


def as_8_bit(values: Values) -> Values:
    """Return values clipped to 0 to 255 and rounded, as uint8."""
    if values.dtype == np.uint8:
        return values
    clipped = np.clip(as_float32(values), 0, 255)
    np.rint(clipped, out=clipped)
    with np.errstate(invalid="ignore"):
        return clipped.astype(np.uint8)
