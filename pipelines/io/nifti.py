"""NIfTI files: images and masks in, checked before use; masks out, on the grid and with the header of their source."""

import gzip
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.volume import Volume, affine_trouble, first_line, format_mm

_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_MOST_GZIP_RATIO = 1032  # what deflate can reach
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError)
_PLACE_FIELDS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "pixdim"),
)


def read_nifti(path: Path, *, units: str = "HU") -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file, compressed or not, of either byte order, scaled by scl_slope and scl_inter.

    Raises:
        InputError: damaged file, 4-D, RGB or complex voxels, or a header that can't place the voxels.
    """
    try:
        with _open(path) as file:
            image = _image_class(file, path).from_stream(file)
            file.seek(0)
            pixdim = type(image.header).from_fileobj(file, check=False)["pixdim"]
            shape = _three_axes(image, path)
            claimed = int(np.prod(shape)) * image.get_data_dtype().itemsize
            held = path.stat().st_size * (_MOST_GZIP_RATIO if path.name.lower().endswith(".gz") else 1)
            if claimed > held:
                raise InputError(f"{path}: cut off: the header claims {claimed} bytes of voxels; copy it again")
            affine, notes = _affine(image, pixdim, path)
            array = _scaled(image.dataobj)
            while file.read(1 << 20):  # to the end of the file, where gzip compares its checksum
                pass
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: damaged or cut-off NIfTI ({first_line(error)}); copy or download it again"
        ) from error
    return Volume(array.reshape(shape, order="A"), affine, units, notes)


def write_mask(
    path: Path, mask: npt.NDArray[Any], affine_ras: npt.NDArray[np.float64], *, source: Path | None = None
) -> None:
    """Write a mask as uint8 .nii.gz that carries its place and nothing else (no description, no extension).

    Args:
        path: ends in .nii or .nii.gz.
        mask: (i, j, k), integers 0–255.
        affine_ras: 4×4, voxel index → RAS mm.
        source: the NIfTI that the mask belongs to: its shape, sform, qform and their codes are kept. Without one both
            forms get code 1 (scanner), which is what a DICOM series has.

    Raises:
        ValueError: values that uint8 can't hold, or a mask that doesn't fit its source.
    """
    values = np.asarray(mask)
    voxels = values.astype(np.uint8)
    if not np.array_equal(voxels, values):
        raise ValueError("a mask holds integers from 0 to 255")
    header = nib.Nifti1Header()
    unit = "mm"
    if source is None:
        image = nib.Nifti1Image(voxels, None, header)
        image.set_sform(affine_ras, code=1)
        image.set_qform(affine_ras, code=1)
    else:
        like = nib.load(source)
        if int(np.prod(like.shape)) != voxels.size:
            raise ValueError(f"a mask of {voxels.shape} doesn't fit {source} of {like.shape}")
        for field in _PLACE_FIELDS:
            header[field] = like.header[field]
        unit = like.header.get_xyzt_units()[0].replace("unknown", unit)
        image = nib.Nifti1Image(voxels.reshape(like.shape), None, header)
    image.header.set_xyzt_units(xyz=unit)
    image.header.set_data_dtype(np.uint8)
    nib.save(image, path)


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not zipped:
        return file
    file.close()
    return gzip.open(path, "rb")  # type: ignore[return-value]


def _image_class(file: BinaryIO, path: Path) -> Any:
    start = file.read(4)
    file.seek(0)
    if len(start) < 4:
        raise InputError(f"{path}: empty or cut-off file; copy or download it again")
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    if 348 in sizes:
        return nib.Nifti1Image
    if 540 in sizes:
        return nib.Nifti2Image
    raise InputError(f"{path}: not a NIfTI file, whatever its name says; convert the image to NIfTI")


def _three_axes(image: Any, path: Path) -> tuple[int, int, int]:
    kind = image.header.get_data_dtype()
    if kind.fields:
        raise InputError(f"{path}: RGB voxels; give an image of one grey or HU value a voxel")
    if kind.kind == "c":
        raise InputError(f"{path}: complex voxels; give an image of real values")
    shape = tuple(int(length) for length in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        raise InputError(f"{path}: {len(shape)}-D image of shape {shape}; save one 3-D volume of it")
    if len(shape) < 2 or min(shape) < 1:
        raise InputError(f"{path}: shape {shape} is no image; export it again")
    i, j, k = (*shape, 1)[:3]
    return i, j, k


def _affine(image: Any, pixdim: npt.NDArray[Any], path: Path) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    axes = min(3, len(image.shape))
    spacing = np.array(pixdim[1 : 1 + axes], dtype=np.float64)
    if not np.isfinite(spacing).all():
        raise InputError(f"{path}: NaN or infinite spacing in pixdim; correct the header or export it again")
    if (spacing <= 0).any():
        kind = "negative" if (spacing < 0).any() else "zero"
        raise InputError(
            f"{path}: {kind} spacing in pixdim ({format_mm(spacing)}); correct the header or export it again"
        )
    affine = np.array(image.affine, dtype=np.float64)
    if axes == 2 and np.linalg.norm(affine[:3, 2]) < 1e-6:  # a 2-D file needn't say how thick it is
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] /= np.linalg.norm(affine[:3, 2]) or 1.0
    unit = image.header.get_xyzt_units()[0]
    affine[:3] *= _MM_PER_UNIT.get(unit, 1.0)
    trouble = affine_trouble(affine)
    if trouble:
        raise InputError(f"{path}: {trouble}; correct the sform or qform, or export it again")
    notes = []
    if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
        notes.append("neither sform nor qform: orientation assumed left to right as NIfTI's default")
    if unit in ("meter", "micron"):
        notes.append(f"spacing given in {unit}, turned to mm")
    return affine, tuple(notes)


def _scaled(data: Any) -> npt.NDArray[np.float32]:
    """The voxels as float32, scaled in place: nibabel would pass through float64."""
    array: npt.NDArray[np.float32] = np.asarray(data.get_unscaled()).astype(np.float32, order="K")
    if data.slope != 1:
        array *= np.float32(data.slope)
    if data.inter != 0:
        array += np.float32(data.inter)
    return array
