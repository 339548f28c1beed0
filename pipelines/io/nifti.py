"""NIfTI files: images and masks in, checked before use; masks out, on the grid and with the header of their source."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.gzip_stream import DeflateError, gzip_reader, gzip_writer, is_gzip, unpacked_length
from radseg.pipelines.io.nifti_voxels import mapped_voxels, read_voxels
from radseg.pipelines.io.volume import Volume, Voxels, affine_trouble, first_line, format_mm

_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_MOST_GZIP_RATIO = 1032  # what deflate can reach
_SLAB_BYTES = 1 << 24  # written at a time
_UNREADABLE = (OSError, EOFError, ValueError, DeflateError, ImageFileError, HeaderDataError)
_PLACE_FIELDS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "pixdim"),
)


def read_nifti(path: Path, *, units: str = "HU") -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file, compressed or not, of either byte order, scaled by scl_slope and scl_inter.

    Voxels of 8 or 16 signed bits that scaling leaves whole are int16, all else and every mask (units "label") float32.
    Of an uncompressed file whose voxels need no change the array is a view of the file, see `mapped_voxels`.

    Raises:
        InputError: damaged file, 4-D, RGB or complex voxels, or a header that can't place the voxels.
    """
    as_stored = units != "label"
    with _told(path):
        zipped = is_gzip(path)
        with gzip_reader(path) if zipped else path.open("rb") as file:
            header, shape, affine, notes = _header(file, path, zipped)
            mapped = mapped_voxels(path, header, shape) if as_stored and not zipped else None
            array: Voxels = read_voxels(file, header, shape, as_stored=as_stored) if mapped is None else mapped
            while zipped and file.read(1 << 20):  # to the end of the file, where gzip compares its checksum
                pass
    return Volume(array, affine, units, notes)


def check_nifti(path: Path) -> None:
    """Look at the header alone, and at whether the file is as long as that says.

    A gzip file ends with its unpacked length. Where that isn't the header's the file is unpacked to be sure, since one
    that was put together from several has the last one's there.

    Raises:
        InputError: as `read_nifti`, but for damage in the voxels of a file of the right length.
    """
    with _told(path):
        zipped = is_gzip(path)
        with gzip_reader(path) if zipped else path.open("rb") as file:
            header, shape, _, _ = _header(file, path, zipped)
            wanted = int(header["vox_offset"]) + int(np.prod(shape)) * header.get_data_dtype().itemsize
            if zipped and unpacked_length(path) != wanted % (1 << 32):
                while file.read(1 << 20):
                    pass
            if not zipped and path.stat().st_size < wanted:
                raise EOFError(f"expected {wanted} bytes, got {path.stat().st_size}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What a reader of files may raise, as an `InputError` that names the file."""
    try:
        yield
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: damaged or cut-off NIfTI ({first_line(error)}); copy or download it again"
        ) from error


def _header(
    file: BinaryIO, path: Path, zipped: bool
) -> tuple[Any, tuple[int, int, int], npt.NDArray[np.float64], tuple[str, ...]]:
    """Header, shape, affine in RAS mm and notes of an open file."""
    header = _header_class(file, path).from_fileobj(file)
    file.seek(0)
    pixdim = type(header).from_fileobj(file, check=False)["pixdim"]
    shape = _three_axes(header, path)
    claimed = int(np.prod(shape)) * header.get_data_dtype().itemsize
    if claimed > path.stat().st_size * (_MOST_GZIP_RATIO if zipped else 1):
        raise InputError(f"{path}: cut off: the header claims {claimed} bytes of voxels; copy it again")
    affine, notes = _affine(header, pixdim, path)
    return header, shape, affine, notes


def write_mask(
    path: Path, mask: npt.NDArray[Any], affine_ras: npt.NDArray[np.float64], *, source: Path | None = None
) -> None:
    """Write a mask as uint8 .nii.gz that carries its place and nothing else (no description, no extension).

    Args:
        path: ends in .nii or .nii.gz.
        mask: (i, j, k), integers 0–255; one of uint8 isn't copied, and is written fastest when Fortran-ordered.
        affine_ras: 4×4, voxel index → RAS mm.
        source: the NIfTI that the mask belongs to: its shape, sform, qform and their codes are kept. Without one both
            forms get code 1 (scanner), which is what a DICOM series has.

    Raises:
        ValueError: values that uint8 can't hold, or a mask that doesn't fit its source.
    """
    values = np.asarray(mask)
    voxels = values.astype(np.uint8, copy=False)
    if voxels is not values and not np.array_equal(voxels, values):
        raise ValueError("a mask holds integers from 0 to 255")
    _write(path, voxels, affine_ras, source, 1.0)


def write_map(
    path: Path,
    values: npt.NDArray[np.uint8],
    affine_ras: npt.NDArray[np.float64],
    *,
    source: Path | None = None,
    scale: float = 1 / 255,
) -> None:
    """Write a map of numbers, such as an uncertainty, as uint8 that the header's scl_slope turns into them.

    Args:
        path, affine_ras, source: as in `write_mask`.
        values: (i, j, k), uint8.
        scale: what a step of 1 means; 255 means 1 by default.

    Raises:
        ValueError: other values than uint8, or a map that doesn't fit its source.
    """
    if values.dtype != np.uint8:
        raise ValueError(f"a map holds uint8, not {values.dtype}")
    _write(path, values, affine_ras, source, scale)


def _write(
    path: Path,
    voxels: npt.NDArray[np.uint8],
    affine_ras: npt.NDArray[np.float64],
    source: Path | None,
    slope: float,
) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    shape, unit = voxels.shape, "mm"
    if source is None:
        header.set_data_shape(shape)
        header.set_sform(affine_ras, code=1)
        header.set_qform(affine_ras, code=1)
    else:
        with gzip_reader(source) if is_gzip(source) else source.open("rb") as held:
            like = _header_class(held, source).from_fileobj(held)
        shape = tuple(like.get_data_shape())
        if int(np.prod(shape)) != voxels.size:
            raise ValueError(f"a mask of {voxels.shape} doesn't fit {source} of {shape}")
        for field in _PLACE_FIELDS:
            header[field] = like[field]
        header.set_data_shape(shape)
        unit = like.get_xyzt_units()[0].replace("unknown", unit)
    header.set_xyzt_units(xyz=unit)
    header.set_slope_inter(slope, 0.0)
    with ExitStack() as stack:
        file: BinaryIO = stack.enter_context(path.open("wb"))
        if path.name.lower().endswith(".gz"):
            file = stack.enter_context(gzip_writer(file))
        header.write_to(file)
        for slab in _as_they_lie(voxels):
            file.write(slab.data)


def _as_they_lie(voxels: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """The voxels in the file's order, first axis fastest, slab by slab; one that lies so already isn't copied."""
    step = max(1, _SLAB_BYTES * voxels.shape[-1] // voxels.size)
    for start in range(0, voxels.shape[-1], step):
        slab = voxels[..., start : start + step].T
        if not slab.flags.c_contiguous:
            # plane by plane, each small enough for the processor's cache: several times faster than at once
            turned = np.empty(slab.shape, np.uint8)
            for j in range(slab.shape[1]):
                turned[:, j] = slab[:, j]
            slab = turned
        yield slab


def _header_class(file: BinaryIO, path: Path) -> Any:
    start = file.read(4)
    file.seek(0)
    if len(start) < 4:
        raise InputError(f"{path}: empty or cut-off file; copy or download it again")
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    if 348 in sizes:
        return nib.Nifti1Header
    if 540 in sizes:
        return nib.Nifti2Header
    raise InputError(f"{path}: not a NIfTI file, whatever its name says; convert the image to NIfTI")


def _three_axes(header: Any, path: Path) -> tuple[int, int, int]:
    kind = header.get_data_dtype()
    if kind.fields:
        raise InputError(f"{path}: RGB voxels; give an image of one grey or HU value a voxel")
    if kind.kind == "c":
        raise InputError(f"{path}: complex voxels; give an image of real values")
    shape = tuple(int(length) for length in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        raise InputError(f"{path}: {len(shape)}-D image of shape {shape}; save one 3-D volume of it")
    if len(shape) < 2 or min(shape) < 1:
        raise InputError(f"{path}: shape {shape} is no image; export it again")
    i, j, k = (*shape, 1)[:3]
    return i, j, k


def _affine(header: Any, pixdim: npt.NDArray[Any], path: Path) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    axes = min(3, len(header.get_data_shape()))
    spacing = np.array(pixdim[1 : 1 + axes], dtype=np.float64)
    if not np.isfinite(spacing).all():
        raise InputError(f"{path}: NaN or infinite spacing in pixdim; correct the header or export it again")
    if (spacing <= 0).any():
        kind = "negative" if (spacing < 0).any() else "zero"
        raise InputError(
            f"{path}: {kind} spacing in pixdim ({format_mm(spacing)}); correct the header or export it again"
        )
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    if axes == 2 and np.linalg.norm(affine[:3, 2]) < 1e-6:  # a 2-D file needn't say how thick it is
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] /= np.linalg.norm(affine[:3, 2]) or 1.0
    unit = header.get_xyzt_units()[0]
    affine[:3] *= _MM_PER_UNIT.get(unit, 1.0)
    trouble = affine_trouble(affine)
    if trouble:
        raise InputError(f"{path}: {trouble}; correct the sform or qform, or export it again")
    notes = []
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        notes.append("neither sform nor qform: orientation assumed left to right as NIfTI's default")
    if unit in ("meter", "micron"):
        notes.append(f"spacing given in {unit}, turned to mm")
    return affine, tuple(notes)
