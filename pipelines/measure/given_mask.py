"""Masks that are given beside a case's own, such as its lungs or lobes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume, load_mask, mask_on_image
from radseg.pipelines.io.store.local_copy import called, local_copy

_MOST = 255
_ENDINGS = (".nii.gz", ".png")


def given_mask(path: Path, case: str, volume: Volume, what: str, option: str) -> npt.NDArray[np.uint8]:
    """The mask of a case, on the grid of its image.

    Args:
        path: a file for a single case, or a folder with `<case>.nii.gz` or `<case>.png`; a URL of either.
        case: name of the case.
        volume: its image.
        what: what the mask is, in words.
        option: the setting that named it, for messages.

    Raises:
        InputError: it is missing, empty, holds other values than labels, or lies on another grid.
    """
    file = local_copy(path)
    if file.is_dir():
        found = [file / f"{case}{ending}" for ending in _ENDINGS if (file / f"{case}{ending}").is_file()]
        if not found:
            raise InputError(f"{file}: no {what} {case}.nii.gz or {case}.png; add it or drop {option}")
        file = found[0]
    labels = as_labels(mask_on_image(Path(case), volume, file, load_mask(file)), file)
    if not labels.any():
        raise InputError(f"{file}: the {what} is empty; give the right one or drop {option}")
    return labels


def as_labels(mask: Volume, source: Path) -> npt.NDArray[np.uint8]:
    """A loaded mask's values as uint8.

    Raises:
        InputError: a value below 0 or above 255.
    """
    low, high = float(mask.array.min()), float(mask.array.max())
    if low < 0 or high > _MOST:
        worst = low if low < 0 else high
        raise InputError(f"{called(source)}: holds {worst:g}, labels are 0 to {_MOST}; give a mask, not an image")
    return mask.array.astype(np.uint8)
