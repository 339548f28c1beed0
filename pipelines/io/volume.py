"""The one form that every image takes inside the project: voxels, their place in the patient, their unit."""

from dataclasses import dataclass, replace
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError

if TYPE_CHECKING:
    from monai.data import MetaTensor

Voxels = npt.NDArray[np.float32 | np.int16]
"""Of an image: float32, or int16 where that is exact."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns an affine to DICOM's axes (left, posterior, superior) into one to NIfTI's (right, anterior, superior)."""

PLAUSIBLE_AIR_HU = -200.0
_SLAB_BYTES = 1 << 22
_WHOLE = 0.01  # how far scaling may take a label from its integer
SAME_AFFINE_MM = 1e-2
MOST_PIXELS = 100_000_000
"""Of one picture: a radiograph has up to about 20 million, and decoding this many takes about 1 GB."""


@dataclass(frozen=True, eq=False)
class Volume:
    """An image with its geometry.

    Attributes:
        array: float32, shape (i, j, k), three axes always: HU, grey 0–255 (pictures, k = 1) or the integers of a mask.
            An image stored in whole numbers may be int16: convert it before calculating, sums and products of int16
            overflow. It may be a view of its file, see `mapped_voxels`.
        affine_ras: 4×4 float64, voxel index → RAS in mm.
        units: "HU", "grey" or "label".
        notes: what was corrected or is worth a look, one line each.
        spacing_known: False where nobody said how large a pixel is; the affine then counts pixels.
        is_picture: whether i and j are the columns and rows of a picture or radiograph (k = 1) and the affine says no
            more than how it is shown.
    """

    array: Voxels
    affine_ras: npt.NDArray[np.float64]
    units: str
    notes: tuple[str, ...] = ()
    spacing_known: bool = True
    is_picture: bool = False

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j, k in mm."""
        i, j, k = (float(length) for length in np.linalg.norm(self.affine_ras[:3, :3], axis=0))
        return i, j, k

    def to_tensor(self, source: Path | None = None) -> "MetaTensor":
        """The image as MONAI's transforms take it: (1, i, j, k), sharing the array's memory and type.

        Args:
            source: kept as "filename_or_obj", after which SaveImaged names its files.
        """
        import torch
        from monai.data import MetaTensor

        meta = {
            "original_affine": torch.from_numpy(self.affine_ras.copy()),
            "spatial_shape": np.array(self.array.shape),
            "original_channel_dim": 0,
            "space": "RAS",
            "units": self.units,
            "notes": "\n".join(self.notes),
            "spacing_known": self.spacing_known,
        }
        if source is not None:
            meta["filename_or_obj"] = str(source)
        affine = torch.from_numpy(self.affine_ras.copy())
        return MetaTensor(torch.from_numpy(self.array)[None], affine=affine, meta=meta)


def checked_image(volume: Volume, source: Path, *, min_slices: int = 1) -> Volume:
    """The volume as it is (with a note when it hardly looks like HU), or a refusal.

    Raises:
        InputError: NaN or infinite voxels, one value everywhere, or fewer slices than the bundle needs.
    """
    low, high = _extremes(volume.array)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{source}: the image holds NaN or infinite voxels; export it again or replace them")
    if low == high:
        raise InputError(f"{source}: every voxel is {low:g} (constant image); export it again")
    thinnest = min(volume.array.shape)
    if thinnest < min_slices:
        raise InputError(f"{source}: {too_few_slices(thinnest, min_slices)}")
    if volume.units == "HU" and low > PLAUSIBLE_AIR_HU:
        return replace(volume, notes=(*volume.notes, f"no voxel below {low:g} HU: check that the values are HU"))
    return volume


def as_float32(volume: Volume) -> Volume:
    """The volume with float32 voxels in memory of its own, for transforms that calculate and for keeping many of them.

    One that has them passes as it is.
    """
    if volume.array.dtype == np.float32 and not _is_mapped(volume.array):
        return volume
    return replace(volume, array=np.array(volume.array, np.float32, order="K"))


def checked_mask(volume: Volume, source: Path) -> Volume:
    """The volume as a mask: values rounded to integers in place, units "label".

    Raises:
        InputError: NaN or infinite voxels, or values that are no labels.
    """
    array = volume.array
    if not np.isfinite(array.sum(dtype=np.float64)):
        raise InputError(f"{source}: the mask holds NaN or infinite voxels; draw or export it again")
    whole = np.rint(array)
    if np.abs(whole - array, out=array).max() > _WHOLE:
        raise InputError(f"{source}: the mask holds values between whole numbers; threshold or relabel it")
    return replace(volume, array=whole, units="label")


def check_same_grid(source: Path, image: Volume, mask_source: Path, mask: Volume) -> None:
    """See that a mask lies voxel for voxel on its image.

    Raises:
        InputError: other shape, or affines that differ by more than 0.01 mm.
    """
    shapes = f"{source} {image.array.shape} and {mask_source} {mask.array.shape}"
    if image.array.shape != mask.array.shape:
        raise InputError(f"image and mask differ in shape: {shapes}; resample the mask to the image's grid")
    apart = float(abs(image.affine_ras - mask.affine_ras).max())
    if apart > SAME_AFFINE_MM:
        raise InputError(
            f"image and mask have different affines (by {apart:.3g} mm): {shapes}; "
            "resample the mask to the image's grid"
        )


def _extremes(array: npt.NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest value, NaN if there is one, in one pass through memory or file, without copies."""
    slow = int(np.argmax(array.strides))
    step = max(1, _SLAB_BYTES * array.shape[slow] // array.nbytes)
    slabs = np.split(array, range(step, array.shape[slow], step), axis=slow)
    ends = np.array([(slab.min(), slab.max()) for slab in slabs], np.float64)
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def _is_mapped(array: npt.NDArray[Any]) -> bool:
    """Whether an array's voxels lie in a file, which stays open with it."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap)


def affine_trouble(affine: npt.NDArray[np.float64]) -> str | None:
    """Why a 4×4 affine can't place voxels in the patient, or None when it can."""
    if not np.isfinite(affine).all():
        return "the affine holds NaN or infinite values"
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if (lengths < 1e-6).any():
        return f"zero spacing ({format_mm(lengths)})"
    if abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        return "the affine is singular (two voxel axes point the same way)"
    return None


def too_few_slices(count: int, needed: int) -> str:
    """The refusal of an image that is too thin for a bundle."""
    have = "a single slice" if count == 1 else f"{count} slices"
    return f"{have}, at least {needed} are needed; give the whole volume or a 2D bundle"


def too_many_pixels(columns: int, rows: int) -> str:
    """The refusal of a picture too large to be decoded, "" when it isn't."""
    if columns * rows <= MOST_PIXELS:
        return ""
    return f"{columns}×{rows} pixels, at most {MOST_PIXELS // 10**6} megapixels are read; crop or reduce the picture"


def format_mm(lengths: npt.ArrayLike) -> str:
    """Lengths as they are said to a user: "0.7 × 0.7 × 2.5 mm"."""
    return " × ".join(f"{float(length):.4g}" for length in np.asarray(lengths).ravel()) + " mm"


def first_line(error: BaseException) -> str:
    """An exception's message cut to its first line, to be put inside a one-line message."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
