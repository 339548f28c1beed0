"""A mask brought onto the grid of its image: voxel for voxel for volumes, by size for pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io.volume import Volume, check_same_grid


def mask_on_image(source: Path, image: Volume, mask_source: Path, mask: Volume) -> Volume:
    """The mask on the image's grid.

    A picture has no place in space, only columns and rows. So a picture of a mask belongs to a picture or radiograph
    of the same columns and rows; one of another size but the same aspect ratio (within one pixel of the smaller, as
    the 256×256 masks of 299×299 images in the COVID-19 Radiography Database) is brought to the image's size, each
    pixel taking the label that lies nearest to its centre.

    Args:
        source: the image's file, for messages.
        image: the image.
        mask_source: the mask's file, for messages.
        mask: the mask.

    Returns:
        The mask with the image's shape and affine; a note says when its size was changed.

    Raises:
        InputError: other shape or other affine, where that rule doesn't hold.
    """
    if not (image.is_picture and mask.is_picture and _same_aspect(image.array.shape, mask.array.shape)):
        check_same_grid(source, image, mask_source, mask)
        return mask
    array, notes = mask.array, mask.notes
    if array.shape != image.array.shape:
        sizes = [f"{volume.array.shape[0]}×{volume.array.shape[1]}" for volume in (mask, image)]
        notes += (f"mask of {sizes[0]} brought to the image's {sizes[1]} pixels, nearest label",)
        array = _nearest(array, image.array.shape)
    return replace(
        mask, array=array, affine_ras=image.affine_ras.copy(), notes=notes, spacing_known=image.spacing_known
    )


def _same_aspect(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one size is the other, scaled and rounded: off by at most one pixel of the smaller along one axis."""
    (width, height), (other_width, other_height) = one[:2], other[:2]
    larger = max((width * height, width, height), (other_width * other_height, other_width, other_height))
    return abs(width * other_height - height * other_width) <= max(larger[1:])


def _nearest(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    columns, rows = (
        ((2 * np.arange(wanted) + 1) * had // (2 * wanted)) for had, wanted in zip(array.shape, shape[:2], strict=False)
    )
    resized: npt.NDArray[Any] = array[np.ix_(columns, rows)]
    return resized
