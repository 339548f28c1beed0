"""How slices of one series stand to each other in space: their order, grid and affine, or why they make no volume.

Nothing here reads a file: slices are positions, directions and sizes in DICOM's patient axes (LPS, mm).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io.dicom.slice_steps import steps_of
from radseg.pipelines.io.dicom.straighten import Straightening
from radseg.pipelines.io.volume import format_mm, too_few_slices

SAME_PLACE_MM = 0.01
SAME_DIRECTION = 1e-3
SAME_SPACING = 1e-3
_MOST_GROWTH = 10

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Slice:
    """Where one image plane lies (DICOM PS3.3 C.7.6.2, Image Plane Module).

    Attributes:
        position_mm: ImagePositionPatient, the centre of the first pixel, LPS.
        row_direction: first half of ImageOrientationPatient, along which the column index grows.
        column_direction: second half, along which the row index grows.
        pixel_spacing_mm: PixelSpacing, between rows and between columns.
        rows, columns: size of the image.
        thickness_mm: SliceThickness, used for a slice that has no neighbour.
    """

    position_mm: Triple
    row_direction: Triple
    column_direction: Triple
    pixel_spacing_mm: tuple[float, float]
    rows: int
    columns: int
    thickness_mm: float | None = None


@dataclass(frozen=True, eq=False)
class Arrangement:
    """The regular grid of a stack of slices.

    Attributes:
        order: index of the kept slices, ascending along the normal (row direction × column direction).
        duplicates: (dropped, kept) index pairs of slices at one place; whether their pixels agree is for the caller
            to see.
        affine_lps: 4×4, (column, row, position in `order` or, straightened, plane) → LPS in mm.
        notes: what had to be assumed or made up.
        straightening: how a tilted or uneven stack comes onto the grid; None where the slices lie on it.
        tilt_degrees: between the normal and the line on which the slices lie.
    """

    order: tuple[int, ...]
    duplicates: tuple[tuple[int, int], ...]
    affine_lps: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()
    straightening: Straightening | None = None
    tilt_degrees: float = 0.0


def arrange(slices: Sequence[Slice], *, min_slices: int = 1) -> Arrangement | str:
    """Order slices along their normal and find the grid that they lie on.

    Args:
        slices: at least one, in any order.
        min_slices: the fewest places along the normal that make a volume here.

    Returns:
        The arrangement, or one line that says why these slices are no regular stack and what can be done.
    """
    trouble = _plane_trouble(slices)
    if trouble:
        return trouble
    row = _unit(slices[0].row_direction)
    column = _unit(slices[0].column_direction)
    normal = np.cross(row, column)
    positions = np.array([one.position_mm for one in slices], dtype=np.float64)
    depth = positions @ normal

    order: list[int] = []
    duplicates: list[tuple[int, int]] = []
    for index in np.argsort(depth, kind="stable").tolist():
        if order and np.linalg.norm(positions[index] - positions[order[-1]]) < SAME_PLACE_MM:
            duplicates.append((index, order[-1]))
        else:
            order.append(index)
    if len(order) < min_slices:
        return too_few_slices(len(order), min_slices)

    between_rows, between_columns = slices[0].pixel_spacing_mm
    affine_lps = np.eye(4)
    affine_lps[:3, 0] = row * between_columns
    affine_lps[:3, 1] = column * between_rows
    affine_lps[:3, 3] = positions[order[0]]
    if len(order) == 1:
        thickness = slices[order[0]].thickness_mm or 0.0
        affine_lps[:3, 2] = normal * (thickness if thickness > 0 else 1.0)
        notes = () if thickness > 0 else ("a single slice without SliceThickness: 1 mm assumed",)
        return Arrangement(tuple(order), tuple(duplicates), affine_lps, notes)

    steps = steps_of(positions[order], normal)
    if isinstance(steps, str):
        return steps
    affine_lps[:3, 2] = steps.step_mm
    straightening = None
    if not steps.is_regular:
        shape_ij = slices[0].columns, slices[0].rows
        shift_ij = np.zeros((len(order), 2))
        if steps.is_tilted:
            # along the line of the slices: each one's own position is only as exact as it was written
            whole, share = positions[order[-1]] - positions[order[0]], depth[order] - depth[order[0]]
            aside_ij = np.array([whole @ row / between_columns, whole @ column / between_rows])
            shift_ij = np.outer(share / share[-1], aside_ij)
        straightening = Straightening.of(shape_ij, shift_ij, steps.at, steps.planes)
        growth = straightening.growth
        if growth > _MOST_GROWTH:
            return f"straightened, the series would be {growth:.0f} times as large; split it or resample it first"
        affine_lps[:3, 3] -= affine_lps[:3, :2] @ straightening.before_ij
    return Arrangement(tuple(order), tuple(duplicates), affine_lps, steps.notes, straightening, steps.tilt_degrees)


def pixel_to_lps(plane: Slice) -> npt.NDArray[np.float64]:
    """4×3 matrix on (column, row, 1), PS3.3 C.7.6.2.1.1 without its zero column."""
    between_rows, between_columns = plane.pixel_spacing_mm
    matrix = np.zeros((4, 3))
    matrix[:3, 0] = np.array(plane.row_direction) * between_columns
    matrix[:3, 1] = np.array(plane.column_direction) * between_rows
    matrix[:3, 2] = plane.position_mm
    matrix[3, 2] = 1
    return matrix


def _plane_trouble(slices: Sequence[Slice]) -> str | None:
    """What keeps the planes from being parallel images of one size, or None."""
    first = slices[0]
    sizes = sorted({(one.rows, one.columns) for one in slices})
    if len(sizes) > 1:
        listed = ", ".join(f"{rows}×{columns}" for rows, columns in sizes)
        return f"slices of different size ({listed}); split the series by Rows and Columns"
    spacings = np.array([one.pixel_spacing_mm for one in slices])
    if (spacings <= 0).any():
        return f"PixelSpacing is {format_mm(spacings.min(axis=0))}; it must be positive: export the series again"
    if np.ptp(spacings, axis=0).max() > SAME_SPACING * spacings.max():
        return (
            f"slices of different PixelSpacing ({format_mm(spacings.min(axis=0))} to "
            f"{format_mm(spacings.max(axis=0))}); split the series by PixelSpacing"
        )
    for one in slices:
        row, column = np.array(one.row_direction), np.array(one.column_direction)
        lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
        if (abs(lengths - 1) > 0.01).any() or abs(row @ column) > 0.01:
            return "ImageOrientationPatient is not two perpendicular unit vectors; export the series again"
    directions = np.array([[*one.row_direction, *one.column_direction] for one in slices])
    reference = np.array([*first.row_direction, *first.column_direction])
    different = int((abs(directions - reference).max(axis=1) > SAME_DIRECTION).sum())
    if different:
        return (
            f"mixed orientations ({different} of {len(slices)} slices are turned against the first); "
            "split the series by ImageOrientationPatient"
        )
    return None


def _unit(direction: Triple) -> npt.NDArray[np.float64]:
    vector = np.array(direction, dtype=np.float64)
    unit: npt.NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit
