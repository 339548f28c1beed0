"""A mask as the file that an annotation client asked for."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.io import Volume, write_mask, write_mask_png
from radseg.pipelines.io.volume import LPS_TO_RAS
from radseg.pipelines.label_server.refused import Refused

EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".png")
"""What a mask can be had as; .png only of a picture or radiograph."""

TYPES = ("uint8", "uint16")


def extension_of(volume: Volume, wanted: object = None) -> str:
    """The extension of a mask's file: the one that is wanted, else that of `radseg segment`.

    Raises:
        Refused: an unknown one, or a picture of a volume.
    """
    if wanted in (None, ""):
        return ".png" if volume.is_picture else ".nii.gz"
    extension = f".{str(wanted).lstrip('.')}"
    if extension not in EXTENSIONS or (extension == ".png" and not volume.is_picture):
        known = ", ".join(EXTENSIONS if volume.is_picture else EXTENSIONS[:-1])
        raise Refused(422, f"result_extension {wanted!r} can't be written here; use one of {known}")
    return extension


def write(
    path: Path, case: Case, volume: Volume, mask: npt.NDArray[np.uint8], dtype: object = None, compress: bool = False
) -> None:
    """Writes a mask on the grid of its image.

    Args:
        path: ends in one of `EXTENSIONS`.
        case: what was segmented.
        volume: its image.
        mask: labels, (i, j, k) on the image's grid.
        dtype: of NRRD, uint8 (default) or uint16; the others are uint8.
        compress: of NRRD, gzip its voxels.

    Raises:
        Refused: an unknown type.
    """
    if path.name.endswith(".png"):
        write_mask_png(path, mask)
    elif path.name.endswith(".nrrd"):
        if dtype not in (None, "", *TYPES):
            raise Refused(422, f"result_dtype {dtype!r} is unknown; use one of {', '.join(TYPES)}")
        _write_nrrd(path, mask.astype(str(dtype or "uint8")), volume.affine_ras, compress)
    else:
        source = case.files[0] if case.kind == InputKind.NIFTI else None
        write_mask(path, mask, volume.affine_ras, source=source)


def _write_nrrd(path: Path, mask: npt.NDArray[Any], affine_ras: npt.NDArray[np.float64], compress: bool) -> None:
    """Writes NRRD (teem.sourceforge.net/nrrd/format.html) with an attached header, its space LPS."""
    affine_lps = LPS_TO_RAS @ affine_ras
    directions = " ".join(_vector(affine_lps[:3, axis]) for axis in range(3))
    header = [
        "NRRD0004",
        f"type: {mask.dtype.name}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, mask.shape))}",
        f"space directions: {directions}",
        "kinds: domain domain domain",
        "endian: little",
        f"encoding: {'gzip' if compress else 'raw'}",
        f"space origin: {_vector(affine_lps[:3, 3])}",
    ]
    voxels = mask.astype(mask.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    path.write_bytes("\n".join(header).encode() + b"\n\n" + (gzip.compress(voxels, 1) if compress else voxels))


def _vector(values: npt.NDArray[np.float64]) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"
