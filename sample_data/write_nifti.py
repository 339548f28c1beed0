"""Write volumes as NIfTI files whose bytes depend on the voxels and the grid alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from radseg.sample_data.grid import Grid


def write_nifti(path: Path, volume: NDArray[np.int16] | NDArray[np.uint8], grid: Grid) -> None:
    """Write a volume as `.nii.gz`, in mm, with sform and qform of code 1 (scanner) that say the same.

    Args:
        path: The file; its folder is made.
        volume: Voxels in the grid's order (column, row, slice).
        grid: Where the voxels lie.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(volume.dtype)
    header.set_data_shape(volume.shape)
    header.set_zooms(grid.spacing_mm)
    header.set_xyzt_units("mm")
    header.set_sform(grid.affine_ras, code=1)
    # Set by hand: nibabel finds a quaternion by an eigenvalue solver, whose last digit differs between machines.
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = grid.quaternion_ras
    header["qoffset_x"], header["qoffset_y"], header["qoffset_z"] = grid.affine_ras[:3, 3]
    header["pixdim"][0] = 1
    header["qform_code"] = 1
    header["descrip"] = b"synthetic phantom, no patient"
    image = nib.Nifti1Image(volume, None, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed,
    ):
        packed.write(image.to_bytes())
