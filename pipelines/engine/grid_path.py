"""The way from a network's grid back to the source image's, read from what MONAI's transforms noted on the image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.transforms import Resize
from monai.transforms.utils import scale_affine
from monai.utils import TraceKeys

from radseg.pipelines.engine.axis_map import AxisMap
from radseg.transforms import ResampleToSpacing, ResizeSlices

_FLOATS = ("float32", "float64")


@dataclass(frozen=True, eq=False)
class GridPath:
    """A way back that goes axis by axis: each is interpolated by itself, then axes change places and direction.

    Attributes:
        axes: for each axis of the network's grid, how the source's voxels along it are made.
        order: for each axis of the source's grid, the axis of the network's that it runs along.
        flipped: for each axis of the network's grid, whether the source's runs the other way.
        affine: of the source, 4×4 float64.
    """

    axes: tuple[AxisMap, ...]
    order: tuple[int, ...]
    flipped: tuple[bool, ...]
    affine: torch.Tensor

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Voxels along the axes of the source's grid."""
        return tuple(self.axes[axis].source_size for axis in self.order)

    def as_network_sees(self, source: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of an array (*, i, j, k) of the source with its last three axes ordered as the network's."""
        others = source.ndim - len(self.order)
        turned = source.transpose(*range(others), *(others + self.order.index(axis) for axis in range(len(self.order))))
        return np.flip(turned, tuple(others + axis for axis, flip in enumerate(self.flipped) if flip))


def grid_path(image: MetaTensor) -> GridPath | None:
    """The way back of a preprocessed image (C, *spatial) by its applied operations.

    It is known for Orientation, ResampleToSpacing, ResizeSlices and MONAI's Resize and their dictionary forms, in any
    order and number; each goes back in the mode that it came, as Invertd does with `nearest_interp=False`.

    Returns:
        None when an operation of another kind was applied, when some are still pending or the image isn't 3D.
    """
    size = [int(n) for n in image.shape[1:]]
    if len(size) != 3 or image.pending_operations or image.affine.shape != (4, 4):
        return None
    axes = [AxisMap.identity(n) for n in size]
    order, flipped = [0, 1, 2], [False] * 3
    affine = np.asarray(image.affine, dtype=np.float64)
    for operation in reversed(image.applied_operations):
        if operation.get(TraceKeys.LAZY):
            return None
        name, note = operation.get(TraceKeys.CLASS_NAME), operation.get(TraceKeys.EXTRA_INFO)
        before = [int(n) for n in operation[TraceKeys.ORIG_SIZE]]
        if name == "Orientation" and isinstance(note, Mapping):
            affine_before = np.asarray(note["original_affine"], dtype=np.float64)
            if affine_before.shape != (4, 4):
                return None
            order, reversed_axes = _turned(affine, affine_before, order)
            for axis in reversed_axes:
                flipped[axis] = not flipped[axis]
            affine = affine_before
        elif _goes_axis_by_axis(name, note):
            weights = [_weights(name, note, place, size, before) for place in range(3)]
            if any(w is None and n != m for w, n, m in zip(weights, size, before, strict=True)):
                return None
            for axis, along in zip(order, weights, strict=True):
                if along is not None:
                    # flips are made last, all at once, so what comes before one is done in a mirror
                    axes[axis] = axes[axis].then(along.flip(0, 1) if flipped[axis] else along)
            affine = _rescaled(affine, note, size, before)
        else:
            return None
        size = [axes[axis].source_size for axis in order]
        if size != before:
            return None
    return GridPath(tuple(axes), tuple(order), tuple(flipped), torch.from_numpy(affine))


def _goes_axis_by_axis(name: Any, note: Any) -> bool:
    if not isinstance(note, Mapping):
        return False
    if name == "Resize":
        return note["dtype"] in _FLOATS and not note["new_dim"]
    return name in ("ResampleToSpacing", "ResizeSlices") and "source_affine" in note


def _turned(
    now: npt.NDArray[np.float64], then: npt.NDArray[np.float64], order: list[int]
) -> tuple[list[int], set[int]]:
    """The order of axes after the way back through an Orientation, and the axes that it reverses."""
    orientation = nib.orientations
    change = orientation.ornt_transform(orientation.io_orientation(now), orientation.io_orientation(then))
    turned = list(order)
    for axis, (place, _) in zip(order, change, strict=True):
        turned[int(place)] = axis
    return turned, {axis for axis, (_, direction) in zip(order, change, strict=True) if direction < 0}


def _weights(name: Any, note: Any, axis: int, size: list[int], before: list[int]) -> torch.Tensor | None:
    """Weights of a regrid's way back along one axis, found by sending each voxel through by itself."""
    n, m = size[axis], before[axis]
    if n == m:
        return None
    # a channel a voxel; two columns, because torch 2.13 widens one column wrongly with antialias
    alone = torch.eye(n)[..., None].repeat(1, 1, 2)
    if name == "ResampleToSpacing":
        back = ResampleToSpacing(1.0).interpolated(alone, (m, 2), note["mode"])
    elif name == "ResizeSlices" and axis < 2:
        back = ResizeSlices((m, 2)).interpolated(alone, (m, 2), note["mode"])
    elif name == "Resize":
        corners = note["align_corners"]
        resize = Resize((m, 2), mode=note["mode"], align_corners=None if corners == TraceKeys.NONE else corners)
        back = resize(alone)
    else:
        return None
    plain = back.as_tensor() if isinstance(back, MetaTensor) else back
    return plain[..., 0].T.to(torch.float32).contiguous()


def _rescaled(
    affine: npt.NDArray[np.float64], note: Mapping[str, Any], size: list[int], before: list[int]
) -> npt.NDArray[np.float64]:
    if "source_affine" in note:
        return np.asarray(note["source_affine"], dtype=np.float64)
    corners = note.get("align_corners")
    scale = scale_affine(size, before, align_corners=bool(corners) and corners != TraceKeys.NONE)
    scaled: npt.NDArray[np.float64] = affine @ np.asarray(scale, dtype=np.float64)
    return scaled
