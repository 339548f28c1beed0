"""How the planes of one stack follow each other: evenly, with holes, unevenly or tilted, or in a way that is refused.

Positions are in DICOM's patient axes (LPS, mm), one a slice, ascending along the normal.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SAME_DEPTH_MM = 0.01
STEP_TOLERANCE_MM = 0.05
STEP_TOLERANCE_SHARE = 0.01
TILT_TOLERANCE_DEGREES = 0.1
TILT_TOLERANCE_MM = 0.1
MOST_TILT_DEGREES = 45.0
"""More is no gantry: scanners tilt by up to 30°."""
MISSING_FROM_STEPS = 1.5
MOST_GAP_STEPS = 3.0
MOST_GAP_MM = 10.0
"""A gap of more than 1.5 usual steps is filled in where it is at most 3 of them and 10 mm wide."""
_FEW_SHARE = 0.1
_MOST_HOLES_SHARE = 0.25
_HALF = 1e-3  # a last slice midway between planes gets one behind it, whatever the rounding errors
_MOST_NAMED = 3

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Steps:
    """A grid along the normal and where the slices lie on it.

    Attributes:
        step_mm: LPS vector from one plane of the grid to the next; along the normal when `is_tilted`.
        planes: their number; the first is that of the first slice.
        at: of each slice, its place on the grid in planes, ascending; whole where a plane takes the slice as it is.
        tilt_degrees: angle between the normal and the line of the slices.
        is_tilted: whether slices have to be shifted back sideways.
        notes: what is made up or moved, one line each.
    """

    step_mm: _Array
    planes: int
    at: _Array
    tilt_degrees: float
    is_tilted: bool
    notes: tuple[str, ...] = ()

    @property
    def is_regular(self) -> bool:
        """Whether the slices are the planes."""
        return not self.is_tilted and self.planes == len(self.at) and bool((self.at == np.arange(self.planes)).all())


def steps_of(positions: _Array, normal: _Array) -> Steps | str:
    """Find the grid for two or more slices, or one line that says why there is none.

    An even stack keeps its slices. One with a few missing slices gets planes for them, one with varying steps the
    smallest usual step throughout: one that a single odd slice doesn't decide, see `_usual`. Its last plane is the one
    nearest to the last slice.
    """
    whole = positions[-1] - positions[0]
    along = float(whole @ normal)
    aside_mm = float(np.linalg.norm(whole - along * normal))
    tilt = float(np.degrees(np.arctan2(aside_mm, along)))
    if tilt > MOST_TILT_DEGREES:
        return f"slices lie side by side ({tilt:.0f}° from their normal), not one behind the other; split the series"
    is_tilted = tilt > TILT_TOLERANCE_DEGREES and aside_mm > TILT_TOLERANCE_MM

    line = whole / along
    depth = (positions - positions[0]) @ normal
    lateral = np.linalg.norm(positions - positions[0] - np.outer(depth, line), axis=1)
    if lateral.max() > 2 * STEP_TOLERANCE_MM:
        near = _place(positions[int(lateral.argmax())], normal)
        return f"slices shifted sideways by {lateral.max():.3g} mm near {near}; split the series at the shift"

    found = _along(depth, lambda mm: _place(positions[0] + mm * line, normal))
    if isinstance(found, str):
        return found
    step, planes, at, notes = found
    if is_tilted:
        notes = (f"gantry tilt of {tilt:.1f}°: slices sheared back to an upright grid", *notes)
    return Steps(step * (normal if is_tilted else line), planes, at, tilt, is_tilted, notes)


def _along(depth: _Array, where: Callable[[float], str]) -> tuple[float, int, _Array, tuple[str, ...]] | str:
    """Step, number of planes and the slices' places on them for slices at `depth` mm along the normal; or a refusal."""
    steps = np.diff(depth)
    count = len(steps)
    if steps.min() < _SAME_DEPTH_MM:
        near = where(depth[int(steps.argmin())])
        return f"slices less than {_SAME_DEPTH_MM:g} mm apart near {near}, of two scans; split the series"
    # the lower median: of one short and one long step, the long is odd
    median = float(np.sort(steps)[(count - 1) // 2])
    filled = np.maximum(np.rint(steps / median), 1)
    at = np.concatenate([[0.0], np.cumsum(filled)])
    step = float(depth[-1] / at[-1])
    holes = np.flatnonzero(filled > 1)
    is_even = abs(depth - at * step).max() <= _tolerance(step)
    if is_even and not len(holes):
        return step, count + 1, at, ()
    if not (is_even and len(holes) <= max(1, _MOST_HOLES_SHARE * count)):
        step = _usual(steps)
        at = depth / step
        nearest = np.rint(at)
        at = np.where(abs(at - nearest) * step <= _tolerance(step), nearest, at)
        holes = holes[:0]

    widest, closest = int(steps.argmax()), int(steps.argmin())
    most = min(MOST_GAP_STEPS * step, max(MOST_GAP_MM, MISSING_FROM_STEPS * step))
    if steps[widest] > most + STEP_TOLERANCE_MM:
        return (
            f"missing slice near {where(depth[widest] + step)} (step of {steps[widest]:.4g} mm where {step:.4g} mm is "
            f"usual; up to {MOST_GAP_STEPS:g} steps and {MOST_GAP_MM:g} mm are filled in); "
            "fetch or export the whole series again"
        )
    if steps[closest] * MOST_GAP_STEPS < step - STEP_TOLERANCE_MM:
        return (
            f"uneven slice steps ({steps.min():.4g} to {steps.max():.4g} mm, worst near {where(depth[closest + 1])}), "
            "slices of two scans; split the series"
        )
    if len(holes):
        missing = int(filled.sum()) - count
        named = ", ".join(where(depth[hole] + step) for hole in holes[:_MOST_NAMED])
        more = ", …" if len(holes) > _MOST_NAMED else ""
        said = "1 missing slice" if missing == 1 else f"{missing} missing slices"
        note = f"{said} near {named}{more} made up from the neighbours"
    else:
        note = (
            f"uneven slice steps ({steps.min():.4g} to {steps.max():.4g} mm, widest near {where(depth[widest])}): "
            f"resampled to {step:.4g} mm"
        )
    return step, int(np.floor(at[-1] + 0.5 + _HALF)) + 1, at, (note,)


def _usual(steps: _Array) -> float:
    """The smallest step that at least two, and a tenth of them, come close to or stay below; of few steps, any."""
    few = 1 if len(steps) < 4 else max(2, int(np.ceil(_FEW_SHARE * len(steps))))
    least = float(np.sort(steps)[few - 1])
    return float(steps[abs(steps - least) <= _tolerance(least) / 2].mean())


def _tolerance(step: float) -> float:
    """How far a slice may be off its plane and still be taken for it, in mm; never so far that it meets the next.

    Positions written with one decimal are off by up to 0.05 mm at the slice and again at the ends of the stack.
    """
    return min(max(2 * STEP_TOLERANCE_MM, STEP_TOLERANCE_SHARE * step), 0.4 * step)


def _place(position: _Array, normal: _Array) -> str:
    """A place as a user would look it up: z for axial slices, else the distance along the normal."""
    if abs(normal[2]) > 0.9:
        return f"z = {position[2]:.1f} mm"
    return f"{float(position @ normal):.1f} mm along the slice normal"
