"""The density of what a compression squeezes and stretches: mineral stays, so bone thickens and discs thin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radseg.transforms.vertebrae.axis import Box, FloatArray, LabelArray, to_mm
from radseg.transforms.vertebrae.compression import Compression
from radseg.transforms.vertebrae.endplates import surface
from radseg.transforms.vertebrae.hounsfield import DENSEST_HU, MARROW_HU, in_hounsfield, in_window
from radseg.transforms.vertebrae.squeeze import Moved

Values = NDArray[np.float32]

_SMOOTH_MM = 1.2
_SOFT_MM = 1.0
_PLATE_MM = 2.0
_DISC_HU = 90.0
_DISC_MM = 15.0


def densify(
    values: Values,
    bone: NDArray[np.bool_],
    compression: Compression,
    moved: Moved,
    affine: FloatArray,
    window_hu: tuple[float, float] | None,
) -> None:
    """Keep the mineral of the squeezed body, in place: what lies above marrow in HU grows as the volume falls.

    Spongy bone is mineral in marrow, and a collapse presses the marrow out: the mineral stays, in less space. The noise
    is left as it is; only a smooth image is scaled.

    Args:
        values: image in the box after the move, (i, j, k).
        bone: the squeezed vertebra, likewise.
        compression: what was squeezed.
        moved: how.
        affine: the grid's voxel to RAS mm, (4, 4).
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.
    """
    box = ndimage.find_objects(bone.astype(np.uint8))[0]
    a, b, c = _widened(box, np.full(3, 4.0), bone.shape)
    part = moved.within((a, b, c))
    hu = in_hounsfield(values[a, b, c], window_hu)
    vertebra = bone[a, b, c]
    share = _in_body(compression, part, affine) * vertebra
    body = share > 0
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # bone alone is averaged, so that the soft tissue around doesn't thin the walls
    weight = np.maximum(ndimage.gaussian_filter(body.astype(np.float32), _SMOOTH_MM / spacing), 1e-3)
    mineral = ndimage.gaussian_filter(np.where(body, hu - MARROW_HU, 0), _SMOOTH_MM / spacing) / weight
    gain = share * np.maximum(mineral, 0) * np.maximum(part.volume_ratio() - 1, 0)
    # the label's steps would show as steps of density
    soft = ndimage.gaussian_filter(gain, _SOFT_MM / spacing) * vertebra
    soft *= gain.sum() / max(float(soft.sum()), 1e-3)
    denser = in_window(np.minimum(hu + soft, np.maximum(hu, DENSEST_HU)), window_hu)
    changed = soft > 0
    values[a, b, c][changed] = denser[changed]


def thin(
    values: Values,
    labels: LabelArray,
    vertebra: int,
    compression: Compression,
    moved: Moved,
    affine: FloatArray,
    window_hu: tuple[float, float] | None,
) -> None:
    """Keep the mineral of what the discs beside the body are stretched from, in place: it falls as the volume grows.

    A voxel of a thin disc shows its endplates too, and where the disc bulges into the body it would be as dense as they
    are. What lies above a disc in HU is shared out over the space that it fills; the noise is left as it is.

    Args:
        values: image in the box after the move, (i, j, k).
        labels: one number per vertebra after the move, likewise.
        vertebra: the squeezed one.
        compression: what was squeezed.
        moved: how.
        affine: the grid's voxel to RAS mm, (4, 4).
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    box = ndimage.find_objects((labels == vertebra).astype(np.uint8))[0]
    a, b, c = _widened(box, np.ceil(_DISC_MM / spacing), labels.shape)
    part = moved.within((a, b, c))
    inside = _in_discs(compression, part, affine) & (labels[a, b, c] == 0)
    hu = in_hounsfield(values[a, b, c], window_hu)
    weight = np.maximum(ndimage.gaussian_filter(inside.astype(np.float32), _SMOOTH_MM / spacing), 1e-3)
    dense = ndimage.gaussian_filter(np.where(inside, hu - _DISC_HU, 0), _SMOOTH_MM / spacing) / weight
    fall = np.maximum(dense, 0) * np.clip(1 - part.volume_ratio(), 0, 1)
    thinner = in_window(hu - fall, window_hu)
    values[a, b, c][inside] = thinner[inside]


def _widened(box: Box, voxels: FloatArray, shape: tuple[int, ...]) -> Box:
    a, b, c = (
        slice(max(part.start - int(more), 0), min(part.stop + int(more), size))
        for part, more, size in zip(box, voxels, shape, strict=True)
    )
    return a, b, c


def _in_discs(compression: Compression, moved: Moved, affine: FloatArray) -> NDArray[np.bool_]:
    """Voxels of the box whose values come from between the body's endplates and its neighbours."""
    body = compression.body
    p, q, up = _sources(compression, moved, affine)
    below, above = surface(body.lower, p, q) - up, up - surface(body.upper, p, q)
    near = (below < compression.below.disc_mm + _PLATE_MM) & (above < compression.above.disc_mm + _PLATE_MM)
    return np.asarray((p * p + q * q < 1.2**2) & (np.maximum(below, above) > -_PLATE_MM) & near)


def _in_body(compression: Compression, moved: Moved, affine: FloatArray) -> Values:
    """1 for voxels whose values come from the body, 0 from its arch, between them in the walls' neighbourhood."""
    body = compression.body
    p, q, up = _sources(compression, moved, affine)
    between = (up > surface(body.lower, p, q) - _PLATE_MM) & (up < surface(body.upper, p, q) + _PLATE_MM)
    return np.asarray(np.clip((1.4 - np.sqrt(p * p + q * q)) / 0.3, 0, 1) * between, np.float32)


def _sources(compression: Compression, moved: Moved, affine: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where the box's values come from: as shares of the body's half width and half depth, and mm to the top."""
    frame, body = compression.body.frame, compression.body
    index = np.stack(np.meshgrid(*(np.arange(p.start, p.stop) for p in moved.box), indexing="ij"), axis=-1)
    local = frame.local(to_mm(np.asarray(index + np.moveaxis(moved.steps, 0, -1), float), affine))
    return local[..., 0] / body.half_width_mm, local[..., 1] / body.half_depth_mm, local[..., 2]
