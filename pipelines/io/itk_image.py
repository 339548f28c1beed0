"""NRRD and MetaImage files (.nrrd, .nhdr, .mha, .mhd), read by ITK."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.volume import LPS_TO_RAS, Volume, affine_trouble, first_line, format_mm

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
_DATA_FIELD = {".nhdr": ("data file", "datafile"), ".mhd": ("elementdatafile",)}
_HEADER_BYTES = 1 << 16


def image_files(path: Path) -> tuple[Path, ...]:
    """The header file and, when the voxels lie beside it, their file.

    Raises:
        InputError: the voxel file is missing, not beside or below the header, or there are several.
    """
    fields = _DATA_FIELD.get(path.suffix.lower())
    if fields is None:
        return (path,)
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES).decode("latin-1")
    named = ""
    for line in text.splitlines():
        key, _, value = line.partition("=" if path.suffix.lower() == ".mhd" else ":")
        if key.strip().lower() in fields:
            named = value.strip()
    if named.upper() == "LOCAL":
        return (path,)
    if not named or named.split()[0].upper() == "LIST" or "%" in named:
        raise InputError(f"{path}: names no single voxel file; save the image as .nrrd or .mha")
    voxels = path.parent / named
    if not voxels.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{path}: its voxel file {named} lies elsewhere; put it beside the header or save as .mha")
    if not voxels.is_file():
        raise InputError(f"{path}: its voxel file {named} is missing; put it beside the header")
    return (path, voxels)


def read_itk(path: Path, *, units: str = "HU") -> Volume:
    """Read an NRRD or MetaImage.

    Raises:
        InputError: damaged, more than three axes, colour or vector voxels, or a grid that can't be placed.
    """
    with _told(path):
        voxels_kji, affine_lps = _read(path, _axes(path))
    affine_ras = LPS_TO_RAS @ affine_lps
    trouble = affine_trouble(affine_ras)
    if trouble:
        raise InputError(f"{path}: {trouble}; correct the header")
    return Volume(voxels_kji.transpose(2, 1, 0), affine_ras, units)


def check_itk(path: Path) -> None:
    """Look at the header alone.

    Raises:
        InputError: as `read_itk`, but for damage in the voxels and a grid that can't be placed.
    """
    with _told(path):
        _axes(path)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What ITK raises, as an `InputError` that names the file; the voxels' file is there."""
    image_files(path)
    try:
        with warnings.catch_warnings():
            # ITK's modules warn while they are loaded, and crash the process where a warning is an error.
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # ITK raises RuntimeError with a many-line text, and others from its wrapping
        raise InputError(f"{path}: damaged or cut-off image ({_itk_reason(error)}); save or copy it again") from error


def _axes(path: Path) -> int:
    """How many axes the header says the image has."""
    import itk

    reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if reader is None:
        raise InputError(f"{path}: not an image that ITK can read; save it as .nrrd or .nii.gz")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    dimensions, components = reader.GetNumberOfDimensions(), reader.GetNumberOfComponents()
    shape = tuple(int(reader.GetDimensions(axis)) for axis in range(dimensions))
    if any(length != 1 for length in shape[3:]):
        raise InputError(f"{path}: {dimensions}-D image of shape {shape}; save one 3-D volume of it")
    if components != 1:
        raise InputError(f"{path}: {components} values a voxel (RGB or vectors); give an image of one value a voxel")
    axes = min(int(dimensions), 3)
    spacing = np.array([reader.GetSpacing(axis) for axis in range(axes)])
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise InputError(f"{path}: spacing {format_mm(spacing)} is not positive; correct the header")
    return axes


def _read(path: Path, axes: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Voxels (k, j, i) and affine to LPS."""
    import itk

    image = itk.imread(str(path), itk.F)
    voxels = itk.array_from_image(image)
    affine_lps = np.eye(4)
    direction = itk.array_from_matrix(image.GetDirection())[:axes, :axes]
    affine_lps[:axes, :axes] = direction * np.array(image.GetSpacing())[:axes]
    affine_lps[:axes, 3] = np.array(image.GetOrigin())[:axes]
    return voxels.reshape((1, 1, *voxels.shape)[-3:]), affine_lps


def _itk_reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    described = [line for line in lines if "ERROR" in line or "Error" in line]
    return (described or [first_line(error)])[-1][:160]
