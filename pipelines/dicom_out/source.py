"""The DICOM frames that a mask was made of, and a mask put back onto them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from radseg.pipelines.cases import Case
from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.arrangement import Slice, pixel_to_lps
from radseg.pipelines.io.dicom.header import quiet_pydicom, read_header
from radseg.pipelines.io.dicom.stream import dicom_stream
from radseg.pipelines.io.volume import LPS_TO_RAS, first_line

_ON_GRID = 1e-3  # voxels
_EQUALLY_NEAR = 1e-6  # of two voxels to a pixel between them, by rounding errors or not: always the lower


@dataclass(frozen=True)
class SourceFrame:
    """One image of the source.

    Attributes:
        path: its file.
        number: its index in the file, from 0.
        plane: where it lies; None of a radiograph, whose affine is only a picture's even where it has a place.
    """

    path: Path
    number: int
    plane: Slice | None


@dataclass(frozen=True, eq=False)
class Source:
    """The images that a mask was made of.

    Attributes:
        frames: ascending along the normal of the slices, however irregular they lie; of a radiograph its one image.
        headers: pydicom dataset of each file without its pixels, in the order in which `frames` first name it.
    """

    frames: tuple[SourceFrame, ...]
    headers: tuple[Any, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file of each header."""
        return tuple(dict.fromkeys(frame.path for frame in self.frames))

    @property
    def is_multi_frame(self) -> bool:
        """Whether a file holds several frames, so that references must name which."""
        return len(self.headers) < len(self.frames)

    @property
    def is_radiograph(self) -> bool:
        """Whether it is a projection, which has no place in the patient."""
        return self.frames[0].plane is None


def read_source(case: Case) -> Source:
    """The frames of a DICOM case and what its files say of patient, study and acquisition.

    Raises:
        InputError: the case isn't DICOM, or a file can't be read any more.
    """
    headers = {header.path: header for header in case.headers}
    try:
        known = [headers.get(path) or read_header(path) for path in case.files]
    except OSError as error:
        raise InputError(f"{error.filename}: can't be read any more ({error.strerror}); run again") from error
    if any(header is None for header in known):
        raise InputError(f"{case.source}: not readable as DICOM; give the DICOM images that the mask is for")
    is_radiograph = case.instance_uid is not None
    frames = [
        SourceFrame(header.path, number, None if is_radiograph else plane)
        for header in known
        if header is not None
        for number, plane in enumerate(header.slices)
    ]
    frames.sort(key=_depth_along(frames))
    return Source(tuple(frames), tuple(_without_pixels(path) for path in dict.fromkeys(frame.path for frame in frames)))


def _without_pixels(path: Path) -> Any:
    try:
        with path.open("rb") as file, quiet_pydicom():
            return pydicom.dcmread(dicom_stream(file), force=True, stop_before_pixels=True)
    except Exception as error:  # pydicom has no single error for a damaged file
        raise InputError(f"{path}: can't be read any more ({first_line(error)}); run again") from error


def values_on_frames(
    values: npt.NDArray[np.uint8], affine_ras: npt.NDArray[np.float64], frames: Sequence[SourceFrame]
) -> Iterator[npt.NDArray[np.uint8]]:
    """The values nearest to each frame's pixels, one frame (rows, columns) after the other.

    Frames that are slices of the volume give the volume's own voxels; those of a tilted or uneven series, whose volume
    was made upright, are looked up where they lie; pixels outside of the volume are 0.

    Args:
        values: labels or probabilities, shape (i, j, k).
        affine_ras: 4×4, voxel index → RAS in mm.
        frames: where to. One without a place takes `values[:, :, 0]`: a radiograph.
    """
    voxel_of = np.linalg.inv(affine_ras) @ LPS_TO_RAS
    for frame in frames:
        if frame.plane is None:
            yield np.ascontiguousarray(values[:, :, 0].T)
            continue
        yield _plane_of(values, voxel_of @ pixel_to_lps(frame.plane), frame.plane.rows, frame.plane.columns)


def _plane_of(
    values: npt.NDArray[np.uint8], to_voxel: npt.NDArray[np.float64], rows: int, columns: int
) -> npt.NDArray[np.uint8]:
    """Values at the pixels of one plane; `to_voxel` is 4×3 on (column, row, 1)."""
    start = np.rint(to_voxel[:3, 2])
    on_grid = abs(to_voxel[:3] - np.column_stack([np.eye(3)[:, :2], start])).max() * max(rows, columns) < _ON_GRID
    if (
        on_grid
        and start[0] == start[1] == 0
        and values.shape[:2] == (columns, rows)
        and 0 <= start[2] < values.shape[2]
    ):
        return np.ascontiguousarray(values[:, :, int(start[2])].T)
    column, row = np.arange(columns), np.arange(rows)
    at = [
        to_voxel[axis, 0] * column[None, :] + to_voxel[axis, 1] * row[:, None] + to_voxel[axis, 2] for axis in range(3)
    ]
    at = [np.ceil(place - 0.5 - _EQUALLY_NEAR).astype(int) for place in at]
    inside = np.logical_and.reduce([(at[axis] >= 0) & (at[axis] < values.shape[axis]) for axis in range(3)])
    plane = np.zeros((rows, columns), np.uint8)
    plane[inside] = values[at[0][inside], at[1][inside], at[2][inside]]
    return plane


def _depth_along(frames: Sequence[SourceFrame]) -> Any:
    planes = [frame.plane for frame in frames if frame.plane is not None]
    if len(planes) < len(frames):
        return lambda frame: 0.0
    normal = np.cross(planes[0].row_direction, planes[0].column_direction)
    return lambda frame: float(np.dot(frame.plane.position_mm, normal))
