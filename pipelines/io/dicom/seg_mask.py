"""A DICOM Segmentation (PS3.3 A.51) as a mask on the grid of the image that it was drawn on."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom.arrangement import SAME_DIRECTION, SAME_SPACING, Slice, pixel_to_lps
from radseg.pipelines.io.dicom.ct_series import select_slices
from radseg.pipelines.io.dicom.functional_groups import frame_attribute
from radseg.pipelines.io.dicom.header import Header, looks_like_dicom, read_header
from radseg.pipelines.io.dicom.pixels import read_dataset, stored_frames
from radseg.pipelines.io.dicom.straighten import Straightening, straighten
from radseg.pipelines.io.image_case import Case
from radseg.pipelines.io.volume import LPS_TO_RAS, Volume

_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", _LABEL_MAP)
_MOST_LABELS = 255
_ON_GRID = 0.05  # voxels: positions are decimals, affines of NIfTI single precision
_SAME_PLACE_MM = 0.05

_Index = npt.NDArray[np.intp]
_Way = Callable[[Slice | None], _Index]
"""From where a frame lies to the matrix (3, 3) that takes its (column, row, 1) to an index of the mask."""


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM Segmentation or Label Map Segmentation; False of one that can't be opened."""
    with suppress(OSError):
        header = read_header(path) if path.is_file() and looks_like_dicom(path) else None
        return header is not None and header.sop_class in _CLASSES
    return False


def read_segmentation(path: Path, case: Case, image: Volume) -> Volume:
    """The mask in a segmentation, its values the segments' numbers.

    Frames of a volume are put where they lie in the patient (Plane Position and Orientation, in mm), voxel for voxel,
    whatever the order in which the image's voxels are stored; what no frame is there for is 0. Those of a tilted or
    uneven series are straightened as its images are. A radiograph has no place: its frames have the image's columns and
    rows. Of a FRACTIONAL segmentation values from half of the largest on count. Where segments overlap the later frame
    counts, with a note.

    Args:
        path: the file.
        case: the image that it was drawn on.
        image: that image, as it was read.

    Raises:
        InputError: the file is damaged, has more than 255 segments, or frames that don't lie on the image's grid.
    """
    header, dataset = read_header(path), read_dataset(path)
    if header is None or header.damage or header.pixel_trouble:
        trouble = "not readable as DICOM" if header is None else header.damage or header.pixel_trouble
        raise InputError(f"{path}: {trouble}; fetch the file again")
    slices = header.slices or (None,) * header.frames
    bent = None if image.is_picture else _straightening(case)
    labels, way = _target(path, case, image, header, bent)
    overlapping = 0
    for plane, shown in zip(slices, _frames(path, dataset, header), strict=True):
        row, column = np.nonzero(shown)
        if not row.size:
            continue
        at = tuple(way(plane) @ np.stack([column, row, np.ones_like(row)]))
        overlapping += int(np.count_nonzero(labels[at]))
        labels[at] = shown[row, column]
    notes = [f"segments overlap in {overlapping} voxels: the later one counts there"] if overlapping else []
    referred = [str(one.get("SeriesInstanceUID", "")) for one in dataset.get("ReferencedSeriesSequence") or ()]
    if case.series_uid is not None and referred and case.series_uid not in referred:
        notes.append("the segmentation refers to another series than the image's, which lies in the same place")
    if bent is not None:
        labels = _upright(labels, bent[1])
    return Volume(
        labels.astype(np.int16), image.affine_ras, "label", tuple(notes), image.spacing_known, image.is_picture
    )


def _frames(path: Path, dataset: Any, header: Header) -> Iterator[npt.NDArray[np.uint8]]:
    """Each frame's labels (rows, columns), 0 where it shows nothing."""
    half = int(dataset.get("MaximumFractionalValue") or 1) / 2 if dataset.get("SegmentationType") == "FRACTIONAL" else 0
    for frame, stored in enumerate(stored_frames(dataset, path)):
        if header.sop_class == _LABEL_MAP:
            number = int(stored.max(initial=0))
        else:
            said = frame_attribute(dataset, frame, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
            if not isinstance(said, int) or said < 1:
                raise InputError(f"{path}: frame {frame + 1} doesn't say which segment it shows; export it again")
            number = said
        if number > _MOST_LABELS:
            raise InputError(f"{path}: segment {number}, at most {_MOST_LABELS} are read; export fewer")
        if header.sop_class == _LABEL_MAP:
            yield stored.astype(np.uint8)
        else:
            yield np.where(stored >= half if half else stored > 0, np.uint8(number), np.uint8(0))


def _target(
    path: Path, case: Case, image: Volume, header: Header, bent: tuple[list[Slice], Straightening] | None
) -> tuple[npt.NDArray[np.uint8], _Way]:
    """An empty mask, and the way of a frame into it.

    The mask has the image's shape or, of a series that is to be straightened, that of its slices (column, row, slice).
    """
    size, shape = (header.columns, header.rows), image.array.shape
    told = f"{path}: doesn't lie on the slices of {case.source}"
    remedy = "give the series that it was drawn on"
    if image.is_picture:
        if shape[:2] != size:
            sizes = f"{size[0]}×{size[1]} pixels, the image {shape[0]}×{shape[1]}"
            raise InputError(f"{path}: {sizes}; give the image that it was drawn on")
        return np.zeros(shape, np.uint8), lambda _: np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    if bent is not None:
        sources = bent[0]

        def slice_of(plane: Slice | None) -> _Index:
            found = next((at for at, one in enumerate(sources) if plane is not None and _same(plane, one)), None)
            if found is None:
                raise InputError(f"{told}; {remedy}")
            return np.array([[1, 0, 0], [0, 1, 0], [0, 0, found]])

        return np.zeros((sources[0].columns, sources[0].rows, len(sources)), np.uint8), slice_of
    to_voxel = np.linalg.inv(LPS_TO_RAS @ image.affine_ras)
    corners = np.array([[0, size[0] - 1, 0], [0, 0, size[1] - 1], [1, 1, 1]])

    def voxels_of(plane: Slice | None) -> _Index:
        if plane is None:
            raise InputError(f"{path}: a frame has no place in the patient; export it again")
        exact = to_voxel[:3] @ pixel_to_lps(plane)
        nearest = np.rint(exact)
        ends = nearest @ corners
        on_grid = abs(exact @ corners - ends).max() < _ON_GRID and abs(nearest[:, :2]).sum(axis=0).tolist() == [1, 1]
        if not on_grid or ends.min() < 0 or (ends.max(axis=1) >= shape).any():
            raise InputError(f"{told} (at {', '.join(f'{mm:.1f}' for mm in plane.position_mm)} mm); {remedy}")
        return nearest.astype(np.intp)

    return np.zeros(shape, np.uint8, order="F"), voxels_of


def _straightening(case: Case) -> tuple[list[Slice], Straightening] | None:
    """The slices of a series that was straightened, in their order, and how; None of another image."""
    if not case.headers:
        return None
    chosen = select_slices(case.headers)
    if chosen.arrangement is None or chosen.arrangement.straightening is None:
        return None
    by_path = {header.path: header for header in case.headers}
    first = by_path[chosen.files[0]]
    if first.frames > 1:
        planes = [first.slices[frame] for frame in chosen.arrangement.order]
    else:
        planes = [by_path[file].slices[0] for file in chosen.files]
    return [plane for plane in planes if plane is not None], chosen.arrangement.straightening


def _upright(labels_ijk: npt.NDArray[np.uint8], how: Straightening) -> npt.NDArray[np.uint8]:
    """Labels of slices (column, row, slice) on the straightened grid, each where it is half of what is mixed there."""
    columns, rows = how.size_ij
    upright = np.zeros((how.planes, rows, columns), np.uint8)
    for label in np.unique(labels_ijk[labels_ijk > 0]):
        alone = np.ascontiguousarray((labels_ijk == label).transpose(2, 1, 0), np.float32)
        upright[straighten(alone, how, 0.0) >= 0.5] = label
    return upright.transpose(2, 1, 0)


def _same(one: Slice, other: Slice) -> bool:
    apart_mm = np.subtract(one.position_mm, other.position_mm)
    turned = np.subtract(one.row_direction + one.column_direction, other.row_direction + other.column_direction)
    sized = np.subtract(one.pixel_spacing_mm, other.pixel_spacing_mm)
    return bool(
        (one.rows, one.columns) == (other.rows, other.columns)
        and abs(apart_mm).max() < _SAME_PLACE_MM
        and abs(turned).max() < SAME_DIRECTION
        and abs(sized).max() < SAME_SPACING
    )
