"""How slices of one series stand to each other in space: their order, grid and affine, or why they make no volume.

Nothing here reads a file: slices are positions, directions and sizes in DICOM's patient axes (LPS, mm).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io.volume import format_mm, too_few_slices

SAME_PLACE_MM = 0.01
SAME_DIRECTION = 1e-3
STEP_TOLERANCE_MM = 0.05
STEP_TOLERANCE_SHARE = 0.01
TILT_TOLERANCE_DEGREES = 0.1
TILT_TOLERANCE_MM = 0.1

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
    """A regular stack of slices.

    Attributes:
        order: index of the kept slices, ascending along the normal (row direction × column direction).
        duplicates: (dropped, kept) index pairs of slices at one place; whether their pixels agree is for the caller
            to see.
        affine_lps: 4×4, (column, row, position in `order`) → LPS in mm.
        notes: what had to be assumed.
    """

    order: tuple[int, ...]
    duplicates: tuple[tuple[int, int], ...]
    affine_lps: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()


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

    notes: list[str] = []
    if len(order) == 1:
        thickness = slices[order[0]].thickness_mm
        if not thickness or thickness <= 0:
            thickness = 1.0
            notes.append("a single slice without SliceThickness: 1 mm assumed")
        step = normal * thickness
    else:
        trouble = _stack_trouble(positions[order], normal)
        if trouble:
            return trouble
        step = (positions[order[-1]] - positions[order[0]]) / (len(order) - 1)

    between_rows, between_columns = slices[0].pixel_spacing_mm
    affine_lps = np.eye(4)
    affine_lps[:3, 0] = row * between_columns
    affine_lps[:3, 1] = column * between_rows
    affine_lps[:3, 2] = step
    affine_lps[:3, 3] = positions[order[0]]
    return Arrangement(tuple(order), tuple(duplicates), affine_lps, tuple(notes))


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
    if np.ptp(spacings, axis=0).max() > 1e-3 * spacings.max():
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


def _stack_trouble(positions: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]) -> str | None:
    """What keeps two or more planes, ordered along the normal, from being an even, upright stack, or None."""
    whole = positions[-1] - positions[0]
    along = float(whole @ normal)
    aside = float(np.linalg.norm(whole - along * normal))
    tilt = float(np.degrees(np.arctan2(aside, along)))
    if tilt > TILT_TOLERANCE_DEGREES and aside > TILT_TOLERANCE_MM:
        return f"gantry tilt of {tilt:.1f}°; resample the series to an upright grid first (for example in 3D Slicer)"

    depth = positions @ normal
    steps = np.diff(depth)
    usual = float(
        np.sort(steps)[(len(steps) - 1) // 2]
    )  # the lower median: of one short and one long step, the long is odd
    tolerance = max(STEP_TOLERANCE_MM, STEP_TOLERANCE_SHARE * usual)
    for index in np.flatnonzero(steps > usual + tolerance):
        missing = steps[index] / usual - 1
        if missing > 0.5 and abs(missing - round(missing)) * usual <= tolerance * (1 + round(missing)):
            near = _place(positions[index] + normal * usual, normal)
            return (
                f"missing slice near {near} (step of {steps[index]:.4g} mm where {usual:.4g} mm is usual); "
                "fetch or export the whole series again"
            )
    even = depth[0] + np.arange(len(depth)) * (depth[-1] - depth[0]) / (len(depth) - 1)
    worst = int(abs(depth - even).argmax())
    # Positions written with one decimal are off by up to 0.05 mm at the slice and again at the ends of the stack.
    if abs(depth[worst] - even[worst]) > max(2 * STEP_TOLERANCE_MM, STEP_TOLERANCE_SHARE * usual):
        return (
            f"uneven slice steps ({steps.min():.4g} to {steps.max():.4g} mm, worst near "
            f"{_place(positions[worst], normal)}), a gap or slices of two scans; fetch the whole series or split it"
        )
    line = positions[0] + np.outer(np.linspace(0, 1, len(positions)), whole)
    off_line = positions - line
    lateral = np.linalg.norm(off_line - np.outer(off_line @ normal, normal), axis=1)
    if lateral.max() > 2 * STEP_TOLERANCE_MM:
        near = _place(positions[int(lateral.argmax())], normal)
        return f"slices shifted sideways by {lateral.max():.3g} mm near {near}; split the series at the shift"
    return None


def _place(position: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]) -> str:
    """A place as a user would look it up: z for axial slices, else the distance along the normal."""
    if abs(normal[2]) > 0.9:
        return f"z = {position[2]:.1f} mm"
    return f"{float(position @ normal):.1f} mm along the slice normal"


def _unit(direction: Triple) -> npt.NDArray[np.float64]:
    vector = np.array(direction, dtype=np.float64)
    unit: npt.NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit
