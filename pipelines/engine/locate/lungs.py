"""Finds the lungs in a CT by their air, with room for the parts that hold none."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.pipelines.engine.locate.body import hulls
from radseg.pipelines.engine.locate.coarse import Coarse
from radseg.pipelines.engine.locate.finder import Finder
from radseg.pipelines.engine.locate.region import Found, Region, widened

_DARK_HU = -400.0
_ROOM_AIR_HU = -930.0  # air outside and gas in the bowel are below it, lung above
_MOST_GAS = 0.3  # of a piece of lung may be that dark
_BONE_HU = 200.0
_LEAST_LITRES = 0.2
_LEAST_PIECE_LITRES = 0.02
_LEAST_PIECE = 0.1  # of the largest
_LEAST_OTHER_LUNG = 0.3  # of the larger lung's volume
_LEAST_DARK = 0.25  # of the outline in all slices; more than a third where the lungs are healthy
_HEALTHY_DARK = 0.3
_HEALTHY_OTHER_LUNG = 0.75
_LEAST_HEIGHT_MM = 150.0
_LEAST_SLICE_MM2 = 600.0  # less at the top is trachea, or the last of the lungs' domes
_MORE_MM = 20.0  # to all sides, where the lungs aren't healthy
_FAR_BELOW_MM = 100.0  # where the recesses behind the diaphragm may be full of fluid
_LOWEST_MM = 20.0
_TIP_MM = 10.0
_MOST_BOTTOM_TIP, _MOST_TOP_TIP = 0.12, 0.25  # of the largest slice's air, in the last slices: lungs taper
_MOST_BEHIND_MM = 25.0  # from the back of the lungs to the back of the ribs

Mask = npt.NDArray[np.bool_]


class _UnsureError(Exception):
    """Why the finder won't say where the lungs are."""


class LungFinder(Finder):
    """Finds the slices that hold lung, and how much of each slice the lungs can take.

    Lung full of fluid or tissue isn't dark. So all slices get one outline: the convex hull of everything dark seen
    from above and of its mirror image in the patient's mid-plane. When what is dark doesn't look like a pair of lungs,
    the finder isn't sure.

    Args:
        spacing_mm: size of the cells looked at.
        margin_mm: how far the region reaches beyond that outline; up and down it reaches further.
    """

    def __init__(self, spacing_mm: float = 3.0, margin_mm: float = 10.0) -> None:
        super().__init__(spacing_mm)
        self.margin_mm = margin_mm

    def find(self, scan: Coarse) -> Found:
        """Where the lungs are, if that is certain."""
        try:
            region = Region(_prism(scan, *_lungs(scan)), scan.affine_ras).grown(self.margin_mm)
        except _UnsureError as unsure:
            return Found(None, str(unsure))
        slices = int(region.mask.any(axis=(0, 1)).sum())
        return Found(region, f"lungs: {slices / region.mask.shape[2]:.0%} of the slices")


def _lungs(scan: Coarse) -> tuple[Mask, Mask, int, int]:
    """The lungs' air, all that is dark in their slices, and the first and last but one of these slices.

    Raises:
        _UnsureError: too little of it, or the field of view cuts it.
    """
    lungs, inside = air_of_lungs(scan)
    if lungs.sum() * float(np.prod(scan.spacing_mm)) * 1e-6 < _LEAST_LITRES:
        raise _UnsureError("hardly any air of lungs")
    if lungs[[0, -1]].any() or lungs[:, [0, -1]].any():
        raise _UnsureError("the field of view cuts the lungs")
    (filled,) = np.nonzero(lungs.any(axis=(0, 1)))
    area_mm2 = lungs.sum(axis=(0, 1)) * scan.spacing_mm[0] * scan.spacing_mm[1]
    (wide,) = np.nonzero(area_mm2 >= _LEAST_SLICE_MM2)
    first, stop = int(filled[0]), int(wide[-1] if len(wide) else filled[-1]) + 1
    for mask in (lungs, inside):
        mask[:, :, :first] = mask[:, :, stop:] = False
    return lungs, inside, first, stop


def air_of_lungs(scan: Coarse) -> tuple[Mask, Mask]:
    """The air of lungs, and all that is dark inside the patient in pieces of some size: gas of the bowel too."""
    inside = _dark_inside(scan)
    labels, count = ndimage.label(inside)
    litres = float(np.prod(scan.spacing_mm)) * 1e-6
    held = np.bincount(labels.ravel(), minlength=count + 1) * litres
    gas = np.bincount(labels[scan.hu < _ROOM_AIR_HU], minlength=count + 1) * litres
    held[0] = 0
    large = held >= _LEAST_PIECE_LITRES
    lung = large & (gas <= _MOST_GAS * held)
    lung &= held >= _LEAST_PIECE * held[lung].max(initial=0.0)
    return np.asarray(lung[labels]), np.asarray(large[labels])


def _prism(scan: Coarse, lungs: Mask, dark: Mask, first: int, stop: int) -> Mask:
    """One outline in all slices that can hold lung.

    Raises:
        _UnsureError: the lungs don't look whole.
    """
    slices, height_mm = lungs.shape[2], scan.spacing_mm[2]
    bone_r, bone_a, _ = np.nonzero(scan.hu[:, :, first:stop] > _BONE_HU)
    if not len(bone_r):
        raise _UnsureError("no bone beside the lungs")
    middle = float(np.median(bone_r))
    columns, rows = np.arange(lungs.shape[0]), np.arange(lungs.shape[1])
    per_column = lungs.sum(axis=(1, 2))
    smaller, larger = sorted((per_column[columns < middle].sum(), per_column[columns > middle].sum()))
    if smaller < _LEAST_OTHER_LUNG * larger:
        raise _UnsureError("one lung is much smaller than the other")
    if first > 0 and stop < slices and (stop - first) * height_mm < _LEAST_HEIGHT_MM:
        raise _UnsureError("the lungs are short")
    per_slice = lungs.sum(axis=(0, 1))
    tip = max(1, round(_TIP_MM / height_mm))
    bottom, top = (float(end.mean()) for end in (per_slice[first : first + tip], per_slice[stop - tip : stop]))
    most = float(per_slice.max())
    if (first > 0 and bottom > _MOST_BOTTOM_TIP * most) or (stop < slices and top > _MOST_TOP_TIP * most):
        raise _UnsureError("the lungs end all at once")

    seen = np.asarray(dark.any(axis=2))
    if (rows[seen.any(axis=0)][0] - np.percentile(bone_a, 5)) * scan.spacing_mm[1] > _MOST_BEHIND_MM:
        raise _UnsureError("the back of the lungs isn't seen")
    outline = hulls((seen | _mirrored(seen, middle))[:, :, None])[:, :, 0]
    share = lungs.sum() / (outline.sum() * (stop - first))
    if share < _LEAST_DARK:
        raise _UnsureError("the lungs are dense")

    lowest = lungs[:, :, first : first + max(1, round(_LOWEST_MM / height_mm))]
    healthy = share > _HEALTHY_DARK and smaller > _HEALTHY_OTHER_LUNG * larger
    above_mm = below_mm = 0.0
    if not healthy:
        above_mm = below_mm = _MORE_MM
        for axis in (0, 1):
            outline = widened(outline, axis, round(_MORE_MM / scan.spacing_mm[axis]))
    if _mean_at(rows, lowest) > _mean_at(rows, lungs):  # healthy lungs end in the recess behind the diaphragm
        below_mm = _FAR_BELOW_MM
    mask = np.zeros(lungs.shape, dtype=bool, order="F")
    mask[:, :, max(0, first - round(below_mm / height_mm)) : stop + round(above_mm / height_mm)] = outline[:, :, None]
    return mask


def _mirrored(seen: Mask, middle: float) -> Mask:
    """The mirror image of an axial outline (R, A) about a column."""
    columns = np.arange(len(seen))
    source = np.rint(2 * middle - columns).astype(int)
    within = (source >= 0) & (source < len(seen))
    mirrored = np.zeros_like(seen)
    mirrored[columns[within]] = seen[source[within]]
    return mirrored


def _mean_at(rows: npt.NDArray[np.int_], mask: Mask) -> float:
    """How far in front a mask lies on average."""
    return float(np.average(rows, weights=mask.sum(axis=(0, 2))))


def _dark_inside(scan: Coarse) -> npt.NDArray[np.bool_]:
    """What is dark and not the air around the patient."""
    dark = scan.hu < _DARK_HU
    # slice by slice: through mouth and windpipe the air around and the lungs' are one
    in_slice = np.zeros((3, 3, 3), dtype=bool)
    in_slice[:, 1, 1] = in_slice[1, :, 1] = True
    labels, count = ndimage.label(dark, in_slice)
    edge = np.zeros(count + 1, dtype=bool)
    for side in (0, -1):
        for plane, hu in ((labels[side], scan.hu[side]), (labels[:, side], scan.hu[:, side])):
            edge[plane[hu < _ROOM_AIR_HU]] = True
    edge[0] = False
    outside = edge[labels]
    # gaps that arms or a table close off in a slice are open to the room above or below
    air = outside | (scan.hu < _ROOM_AIR_HU)
    labels, count = ndimage.label(air)
    open_air = np.zeros(count + 1, dtype=bool)
    open_air[labels[outside]] = True
    open_air[0] = False
    outside = open_air[labels]
    for axis in (0, 1):
        outside = widened(outside, axis, 1)
    return np.asarray(dark & ~outside)
