"""One spine out of a mask: pieces that belong to it, pieces beside it, and a second spine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.pipelines.measure.vertebrae.even_grid import STEP_MM

Bools = npt.NDArray[np.bool_]

_JOIN_MM = 9.0
_ASIDE_MM = 40.0
_NEAR_MM = 20.0
_SECOND = 0.4
_LARGE_ML = 1.0


def one_spine(inside: Bools) -> tuple[Bools | None, tuple[str, ...]]:
    """The pieces of a mask that make one spine, and warnings of what doesn't; None where there seem to be two spines.

    Pieces less than 18 mm apart are one group. The largest group is the spine; groups above or below it continue it,
    and small ones close to it are its splinters. What lies elsewhere is left out, and if that is more than 0.4 of
    the spine, nobody can say which is meant.

    Args:
        inside: the mask on the even grid, (x, y, z).
    """
    coarse_step = 2
    pad = [(0, -n % coarse_step) for n in inside.shape]
    padded = np.pad(inside, pad)
    x, y, z = (n // coarse_step for n in padded.shape)
    coarse = padded.reshape(x, 2, y, 2, z, 2).any(axis=(1, 3, 5))
    step = STEP_MM * coarse_step
    room = round(_JOIN_MM / step)
    wide = np.pad(coarse, room)
    joined = ndimage.distance_transform_edt(~wide) * step <= _JOIN_MM
    groups, count = ndimage.label(joined, np.ones((3, 3, 3)))
    inner = (slice(room, -room),) * 3
    named = np.where(coarse, groups[inner], 0)
    if count == 1:
        return inside, ()
    sizes = np.bincount(named.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(named)
    order = np.argsort(-sizes, kind="stable")
    spine = [int(order[0])]
    aside: list[int] = []
    for group in order[1:]:
        (spine if _continues(int(group), spine, boxes, step) else aside).append(int(group))
    of_spine = np.isin(named, np.array(spine) + 1)
    if aside:
        distance = ndimage.distance_transform_edt(~of_spine) * step
        # all but a rim of it close to the spine: a loose spinous process
        splinters = [one for one in aside if np.median(distance[named == one + 1]) <= _NEAR_MM]
        of_spine |= np.isin(named, np.array(splinters, int) + 1)
        aside = [one for one in aside if one not in splinters]
    fine = of_spine.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)[tuple(slice(n) for n in inside.shape)]
    kept = inside & fine
    left_ml = float(np.count_nonzero(inside & ~fine)) * STEP_MM**3 / 1000
    kept_ml = float(np.count_nonzero(kept)) * STEP_MM**3 / 1000
    if left_ml > _SECOND * kept_ml:
        return None, (
            f"the mask holds more than one spine ({kept_ml:.0f} ml, and {left_ml:.0f} ml beside it): "
            "no vertebra is measured",
        )
    if left_ml > _LARGE_ML:
        return kept, (f"{left_ml:.1f} ml of the mask lie beside the spine and are left out",)
    return kept, ()


def _continues(group: int, spine: list[int], boxes: list[tuple[slice, slice, slice]], step: float) -> bool:
    """Say whether a group lies above or below all groups of the spine, and no further aside than a spine bends."""
    mine = boxes[group]
    height = mine[2].stop - mine[2].start
    gaps = []
    for other in (boxes[one] for one in spine):
        shared = min(mine[2].stop, other[2].stop) - max(mine[2].start, other[2].start)
        if shared > 0.5 * min(height, other[2].stop - other[2].start):
            return False
        aside = max(
            abs(mine[axis].start + mine[axis].stop - other[axis].start - other[axis].stop) / 2 for axis in (0, 1)
        )
        gaps.append((max(-shared, 0), aside))
    gap, aside = min(gaps)
    return bool(aside * step <= _ASIDE_MM + 0.7 * gap * step)
