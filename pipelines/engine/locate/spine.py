"""Finds the spine in a CT by its canal: soft tissue walled in by bone in slice after slice."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radseg.pipelines.engine.locate.coarse import Coarse
from radseg.pipelines.engine.locate.column import along_path, best_path, canal_likeness
from radseg.pipelines.engine.locate.finder import Finder
from radseg.pipelines.engine.locate.region import Found, Region

Array = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]

_LEAST_LENGTH_MM = 30.0
_BONE_HU = (100.0, 250.0)
_TISSUE_HU = -300.0
_MIDLINE_SIGMA_MM = 60.0  # a hip or shoulder is 80 mm or more from the mid-line, a scoliotic vertebra up to 60
_MIDLINE_ALONG_MM = 40.0
_APART_MM = 45.0  # what lies nearer to the canal is the same vertebra
_LEAST_SCORE = 0.22  # of a slice; discs and cervical vertebrae have .25 and more, the pelvic cavity less than .15
_LEAST_LEAD = 1.2  # of the path over the best place elsewhere in the slice
_LEAST_MEAN = 0.3  # of the sure slices
_MOST_RIVAL = 0.6  # of the path's sum, for the best path elsewhere: legs have two columns
_LEAST_SHARE = 0.5  # of the slices that show tissue
_LONG_MM = 300.0  # a column as long as that is one, however much of the patient there is besides
_SLOPE_SIGMA_MM = 10.0
_STEEP = (1.2, 0.45)  # forwards or backwards, sideways (less the column's own slant): it may be leaving the spine
_STEEP_MARGIN_MM = 24.0
_ALONG_MM = 16.0  # what belongs to a slice's canal lies as far above and below it, where the column slants
_MOST_LEAP_MM = 25.0  # to the front or side, from where the canal was lost to where it was found again
_MOST_ONE_SIDED_MM = 24.0
_MATCH = 0.5  # of the larger score: enough to be the same on the other side
_MOST_STRAY = (1.5, 1.0)  # mm per mm along the scan: how fast a column may leave the place where it was last seen
_STRAY_LIMIT_MM = 80.0  # the worst scoliosis and kyphosis lead no further from a straight line


class SpineFinder(Finder):
    """Finds the vertebral column and leaves room for every process of every vertebra.

    The path of the canal through all slices is the best by dynamic programming. Where a slice doesn't show it beyond
    doubt, the region widens with the distance from the last that did, as fast as a column can bend.

    Args:
        spacing_mm: size of the cells looked at.
        half_width_mm, in_front_mm, behind_mm: how far the region reaches from the middle of the canal. Vertebrae were
            seen to reach 54 mm to the side, 51 mm forwards and 52 mm backwards; a path inside a vertebra's body lies
            20 mm further in front.
    """

    def __init__(
        self,
        spacing_mm: float = 4.0,
        half_width_mm: float = 60.0,
        in_front_mm: float = 60.0,
        behind_mm: float = 72.0,
    ) -> None:
        super().__init__(spacing_mm)
        self.half_width_mm = half_width_mm
        self.in_front_mm = in_front_mm
        self.behind_mm = behind_mm

    def find(self, scan: Coarse) -> Found:
        """Where the spine is, if that is certain."""
        hu, (across, along, rise) = scan.hu.T, scan.spacing_mm
        spacing_mm = (rise, along, across)
        if len(hu) * rise < _LEAST_LENGTH_MM:
            return Found(None, f"only {len(hu) * rise:.0f} mm of the patient's length")
        column = _column(hu, spacing_mm)
        if column.doubt:
            return Found(None, column.doubt)
        mask = self._around(column.path, column.sure, hu.shape, spacing_mm)
        length_mm = float(column.sure.sum()) * rise
        return Found(Region(mask.T, scan.affine_ras), f"spine over {length_mm:.0f} mm, {mask.mean():.0%} of the volume")

    def _around(self, path: npt.NDArray[np.intp], sure: Flags, shape: tuple[int, ...], spacing_mm: Spacing) -> Flags:
        """A box in each slice, wider where the canal wasn't seen."""
        rise, *plane = spacing_mm
        (seen,) = np.nonzero(sure)
        mask = np.zeros(shape, dtype=bool)
        for index in range(len(mask)):
            nearest = seen[np.abs(seen - index).argmin()]
            lost_mm = abs(nearest - index) * rise
            stray_y, stray_x = (min(lost_mm * slope, _STRAY_LIMIT_MM) for slope in _MOST_STRAY)
            side = self.half_width_mm + stray_x
            reach = ((self.behind_mm + stray_y, self.in_front_mm + stray_y), (side, side))
            box = tuple(
                slice(max(0, int(at - round(low / size))), int(at + round(high / size)) + 1)
                for at, (low, high), size in zip(path[nearest].tolist(), reach, plane, strict=True)
            )
            mask[index][box] = True
        reach_z = 2 * round(_ALONG_MM / rise) + 1
        return np.asarray(ndimage.maximum_filter1d(mask.view(np.uint8), reach_z, axis=0, mode="constant"), dtype=bool)


@dataclass(frozen=True, eq=False)
class _Column:
    """The canal's path.

    Attributes:
        path: (S, 2), indices along A and R.
        sure: (S,), the slices that show it beyond doubt.
        doubt: why all of it may be wrong, or "".
    """

    path: npt.NDArray[np.intp]
    sure: Flags
    doubt: str


def _column(hu: Array, spacing_mm: Spacing) -> _Column:
    score = canal_likeness(hu, spacing_mm, _BONE_HU)
    tissue = hu > _TISSUE_HU
    central = score * _near_midline(tissue, spacing_mm)[:, None]
    path = best_path(central, spacing_mm)
    own, own_central = along_path(score, path), along_path(central, path)
    elsewhere = _without(central, path, spacing_mm)
    rival = along_path(elsewhere, best_path(elsewhere, spacing_mm))
    sure = (own > _LEAST_SCORE) & (own_central > _LEAST_LEAD * elsewhere.max(axis=(1, 2)))
    if not sure.any():
        return _Column(path, sure, "no vertebral canal")
    passable = (own > _LEAST_SCORE) & ~_steep(path, sure, spacing_mm)
    sure, leap_mm = _bridged(sure & passable, passable, path * np.array(spacing_mm[1:]))
    if leap_mm > _MOST_LEAP_MM:
        return _Column(path, sure, "the vertebral canal can't be followed")
    if (_one_sided(score, path, spacing_mm) & ~sure).sum() * spacing_mm[0] > _MOST_ONE_SIDED_MM:
        return _Column(path, sure, "bone beside the column that may be the spine")
    shown = np.asarray(tissue.any(axis=(1, 2)))
    return _Column(path, sure, _doubt(own, own_central, rival, sure, shown, spacing_mm[0]))


def _steep(path: npt.NDArray[np.intp], sure: Flags, spacing_mm: Spacing) -> Flags:
    """Slices near which a path is steeper than a spine: it may be on its way to a hip, a shoulder or the heart."""
    rise, *plane = spacing_mm
    place_mm = ndimage.gaussian_filter1d(path * np.array(plane), _SLOPE_SIGMA_MM / rise, axis=0, mode="nearest")
    slope = np.gradient(place_mm, rise, axis=0)
    slope[:, 1] -= np.median(slope[sure, 1])
    margin = 2 * round(_STEEP_MARGIN_MM / rise) + 1
    steep = (np.abs(slope) > _STEEP).any(axis=1)
    return np.asarray(ndimage.maximum_filter1d(steep.view(np.uint8), margin), dtype=bool)


def _bridged(sure: Flags, passable: Flags, place_mm: npt.NDArray[np.float64]) -> tuple[Flags, float]:
    """The sure slices and all gaps between two of them that the path crosses on canal, whatever lies beside it.

    Also the longest way, forwards or sideways, that the path goes across any other gap.
    """
    spans, count = ndimage.label(passable)
    bridged = sure.copy()
    ends: list[int] = []
    for span in range(1, count + 1):
        (seen,) = np.nonzero(sure & (spans == span))
        if len(seen):
            bridged[seen[0] : seen[-1] + 1] = True
            ends += [int(seen[0]), int(seen[-1])]
    leaps = [float(np.abs(place_mm[to] - place_mm[of]).max()) for of, to in zip(ends[1::2], ends[2::2], strict=False)]
    return bridged, max(leaps, default=0.0)


def _one_sided(score: Array, path: npt.NDArray[np.intp], spacing_mm: Spacing) -> Flags:
    """Slices with a canal-like place to one side of the path and no match on the other: not two hips or shoulders."""
    rest = _without(score, path, spacing_mm)
    flags = np.zeros(len(path), dtype=bool)
    for index, (plane, x) in enumerate(zip(rest, path[:, 1].tolist(), strict=True)):
        less, more = sorted((float(plane[:, :x].max(initial=0)), float(plane[:, x:].max(initial=0))))
        flags[index] = more > _LEAST_SCORE and less < _MATCH * more
    return flags


def _doubt(own: Array, own_central: Array, rival: Array, sure: Flags, tissue: Flags, rise: float) -> str:
    """Why what was found may not be the spine, "" if it is."""
    if not sure.any() or float(own[sure].mean()) < _LEAST_MEAN:
        return "no vertebral canal"
    seen = int(sure.sum())
    if seen < _LEAST_SHARE * int(tissue.sum()) and seen * rise < _LONG_MM:
        return f"the vertebral canal shows in {seen / int(tissue.sum()):.0%} of the slices only"
    if float(rival.sum()) > _MOST_RIVAL * float(own_central.sum()):
        return "two columns of bone"
    return ""


def _near_midline(tissue: Flags, spacing_mm: Spacing) -> Array:
    """Weight along R of every slice, (S, R), 1 in the middle of the body."""
    rise, _, size = spacing_mm
    index = np.arange(tissue.shape[2])
    width = tissue.sum(axis=1)
    sigma = _MIDLINE_ALONG_MM / rise
    held = ndimage.gaussian_filter1d(width.sum(axis=1).astype(np.float64), sigma, mode="nearest")
    moment = ndimage.gaussian_filter1d((width @ index).astype(np.float64), sigma, mode="nearest")
    middle = np.where(held > 0, moment / np.maximum(held, 1e-6), index.mean())
    off_mm = (index - middle[:, None]) * size
    return np.asarray(np.exp(-0.5 * (off_mm / _MIDLINE_SIGMA_MM) ** 2), dtype=np.float32)


def _without(score: Array, path: npt.NDArray[np.intp], spacing_mm: Spacing) -> Array:
    """The score with the path's surroundings blanked."""
    rest = score.copy()
    reach = [int(np.ceil(_APART_MM / size)) for size in spacing_mm[1:]]
    for plane, at in zip(rest, path.tolist(), strict=True):
        plane[tuple(slice(max(0, p - r), p + r + 1) for p, r in zip(at, reach, strict=True))] = 0
    return rest
