"""Where an image's voxels lie, remembered so that a submitted label is checked without reading the image again."""

import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np

from radseg.pipelines.io import Volume, load_mask, load_volume
from radseg.pipelines.io.volume import check_same_grid
from radseg.pipelines.label_server.refused import Refused

_KEPT = 256


class Grids:
    """Shape and affine of each image that was asked for lately; safe to share between threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int], Volume] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, image: Path, modality: str = "CT") -> Volume:
        """The image's grid: a volume without its voxels.

        Args:
            image: its file, or folder of a series.
            modality: DICOM Modality that it is read as.

        Raises:
            InputError: the image can't be read.
        """
        key = _state(image)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        volume = load_volume(image, modality=modality)
        nothing = np.broadcast_to(np.zeros((), np.int16), volume.array.shape)
        grid = replace(volume, array=nothing)
        with self._lock:
            self._known[key] = grid
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return grid

    def check(self, image_id: str, image: Path, label: Path, most: int | None, modality: str = "CT") -> None:
        """Sees that a label lies voxel for voxel on its image and holds values that are known.

        Args:
            image_id: what the image is called in a refusal.
            image: its file, or folder of a series.
            label: the label's file.
            most: highest value that a label may have; None allows any.
            modality: as in `of`.

        Raises:
            InputError: a file can't be read, or shape or affine differ.
            Refused: it holds other values, or its shape differs.
        """
        mask, grid = load_mask(label), self.of(image, modality)
        if mask.array.shape != grid.array.shape:
            sizes = [" × ".join(map(str, volume.array.shape)) for volume in (mask, grid)]
            raise Refused(
                422, f"the label has {sizes[0]} voxels, image {image_id} has {sizes[1]}; draw it on that image"
            )
        if not (mask.is_picture and grid.is_picture):
            check_same_grid(Path(image_id), grid, Path("the label"), mask)
        highest = int(mask.array.max())
        lowest = int(mask.array.min())
        if lowest < 0 or (most is not None and highest > most):
            value = lowest if lowest < 0 else highest
            raise Refused(422, f"the label holds {value}, the models here know 0 to {most}; relabel it")


def _state(image: Path) -> tuple[str, int, int]:
    status = image.stat()
    return str(image), status.st_mtime_ns, status.st_size
