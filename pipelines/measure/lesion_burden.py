"""How much of the lungs a lesion takes: volume, shares of lungs and lobes, density, the CT severity score."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.io import Volume
from radseg.pipelines.measure.ct_severity import lobe_points, severity_score
from radseg.pipelines.measure.field_of_view import cut_at, cut_off
from radseg.pipelines.measure.given_mask import given_mask
from radseg.pipelines.measure.lesion_density import CONSOLIDATION_HU, LesionDensity, lesion_density
from radseg.pipelines.measure.lobes import LEFT_LOBES, LOBES, five_lobes
from radseg.pipelines.measure.lung_air import ERROR, lung_voxels_by_air
from radseg.pipelines.measure.measurement import Measurement, as_rows
from radseg.pipelines.measure.sides import LEFT, RIGHT, two_sides
from radseg.pipelines.measure.volumes import LabelVolumes
from radseg.transforms.slabs import count_planes, slabs

_MOST_OUTSIDE = 0.1  # of the lesion may lie outside the lung mask, at its edges
_ELSEWHERE = 0.5  # of it outside: then it is no lesion of these lungs; both bounds are ours
_SCORE = "points of five lobes by share, Pan et al. 2020"
_NO_LUNGS = "no lung mask is given (lung_mask)"
_NO_LOBES = "no lobe mask is given (lobes)"

Labels = npt.NDArray[np.uint8]


@dataclass
class _Region:
    """A part of the lungs, with what of the lesion lies in it."""

    name: str
    voxels: int
    lesion: int
    cut: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.lesion / self.voxels


class LesionBurden:
    """Volumes as `LabelVolumes`, the extent of all labels together, and measurements of the lesion that they make.

    `share_of_slices` is the number of axial slices with any lesion over all slices. `share_of_lung` is lesion voxels
    inside the lung mask over the voxels of the lung mask; it is left out without one, or where shares are.

    `measurements` hold the volume in ml, its share in % of both lungs, of each lung and lobe, ground-glass against
    consolidation (see `lesion_density`), mean HU, and the 25-point CT severity score (see `ct_severity`), which takes
    lobes. Right and left are told apart as in `two_sides`. Without masks of lungs or lobes the share of both lungs is
    estimated (see `lung_voxels_by_air`). A lung or lobe that the field of view cuts off has a warning and no share. A
    lesion as airy as healthy lung or as dense as bone (see `LesionDensity`), or more than half of which lies outside
    the lungs, has no shares and no score, but a warning. Of pictures, which have neither HU nor more than one slice,
    there are shares of the slice only.

    Args:
        labels: names of the labels 1, 2, ….
        lung_mask: a mask file for a single case, or a folder with `<case>.nii.gz` or `<case>.png`; anything above 0
            is lung, two values are its two sides.
        lobes: likewise, a label image of the five lobes; the lungs are taken from it when there is no `lung_mask`.
        lobe_values: values of the lobes in the order of `LOBES`; else those of `five_lobes`.
    """

    def __init__(
        self,
        labels: Sequence[str],
        lung_mask: str | Path | None = None,
        lobes: str | Path | None = None,
        lobe_values: Sequence[int] | None = None,
    ) -> None:
        self.volumes = LabelVolumes(labels)
        self.lung_mask = None if lung_mask is None else Path(lung_mask)
        self.lobes = None if lobes is None else Path(lobes)
        self.lobe_values = lobe_values

    def __call__(self, mask: Labels, volume: Volume, case: str) -> dict[str, Any]:
        """Statistics of one mask; the arguments are those of `LabelVolumes`.

        Raises:
            InputError: the lung or lobe mask is missing, empty, holds no lobe, or lies on another grid.
        """
        axial = int(np.argmax(np.abs(volume.affine_ras[2, :3])))
        touched = count_planes(mask)[axial] > 0
        statistics = self.volumes(mask, volume, case)
        statistics["slices"] = int(touched.size)
        statistics["share_of_slices"] = round(float(touched.mean()), 6)
        lesion = mask > 0
        warnings: list[str] = []
        lungs, lobes, elsewhere = self._regions(lesion, volume, case, warnings)
        density = lesion_density(lesion, volume) if volume.units == "HU" and not volume.is_picture else None
        trouble = None if density is None else density.trouble
        warnings += [trouble] if trouble else []
        implausible = trouble or elsewhere
        if self.lung_mask is not None and not implausible:
            statistics["share_of_lung"] = round(lungs[0].share, 6)
        rows = list(_amount(lesion, volume, warnings))
        rows += _shares_of_lungs(lesion, volume, lungs, implausible)
        rows += [_share(region, volume, implausible) for region in lobes]
        rows += _density(density, volume)
        rows += _score(lobes, volume, implausible)
        return {**statistics, "measurements": as_rows(rows), **({"warnings": warnings} if warnings else {})}

    def _regions(
        self, lesion: npt.NDArray[np.bool_], volume: Volume, case: str, warnings: list[str]
    ) -> tuple[list[_Region], list[_Region], str | None]:
        """Both lungs together, right and left; the lobes; why the lesion isn't one of these lungs, or None."""
        lungs: list[_Region] = []
        lobes: list[_Region] = []
        sides: npt.NDArray[Any] | None = None
        if self.lobes is not None:
            labels = given_mask(self.lobes, case, volume, "lobe mask", "lobes")
            of_lobes = five_lobes(labels, volume.affine_ras, self.lobe_values)
            del labels
            lobes = _counted(lesion, of_lobes, LOBES, volume)
            table = np.array([0, *(LEFT if number in LEFT_LOBES else RIGHT for number in range(1, 6))], np.uint8)
            sides = table[of_lobes]
        if self.lung_mask is not None:
            given = given_mask(self.lung_mask, case, volume, "lung mask", "lung_mask")
            told = two_sides(given, volume.affine_ras)
            if told.map is None:
                warnings.append(f"right and left lung can't be told apart: in the lung mask {told.trouble}")
                sides = given > 0
            else:
                sides = told.map
            warnings += [told.warning] if told.warning else []
        if sides is None:
            return lungs, lobes, None
        if sides.dtype == np.uint8:
            lungs = _counted(lesion, sides, ("right lung", "left lung"), volume)
        cut = list(dict.fromkeys(side for lung in lungs for side in lung.cut)) or cut_at(sides, volume)
        inside = int(np.count_nonzero(lesion & (sides > 0)))
        lungs.insert(0, _Region("both lungs", int(np.count_nonzero(sides)), inside, cut))
        outside = int(np.count_nonzero(lesion)) - inside
        elsewhere: str | None = None
        if outside > _MOST_OUTSIDE * (inside + outside):
            far = f"{outside / (inside + outside):.0%} of the lesion lies outside the lung mask"
            if outside > _ELSEWHERE * (inside + outside):
                elsewhere = f"{far}, so it isn't a lesion of these lungs and has no share of them"
            warnings.append(elsewhere or f"{far}, so its shares of the lungs are too small")
        warnings += [cut_off(one.name, one.cut) for one in (lungs[1:] or lungs) if one.cut]
        return lungs, lobes, elsewhere


def _counted(lesion: npt.NDArray[np.bool_], parts: Labels, names: Sequence[str], volume: Volume) -> list[_Region]:
    """The parts of a map that have voxels, in order."""
    counts = np.zeros((len(names) + 1, 2), np.int64)
    for index, slab in slabs(parts):
        both = slab * np.uint8(2) + lesion[index]
        counts += np.bincount(both.ravel(order="K"), minlength=counts.size).reshape(counts.shape)
    return [
        _Region(name, int(without + inside), int(inside), cut_at(parts == number, volume))
        for number, (name, (without, inside)) in enumerate(zip(names, counts[1:].tolist(), strict=True), start=1)
        if without + inside
    ]


def _amount(lesion: npt.NDArray[np.bool_], volume: Volume, warnings: list[str]) -> Iterator[Measurement]:
    voxels = int(np.count_nonzero(lesion))
    cut = cut_at(lesion, volume)
    warning = f"more may lie beyond: {cut_off('lesion', cut)}" if cut else None
    warnings += [warning] if warning else []
    if volume.is_picture or not volume.spacing_known:
        share = 100 * voxels / lesion.size
        yield Measurement("lesion share of the image", share, "%", method="lesion pixels over all", warning=warning)
    if not volume.spacing_known:
        reason = "nobody says how large a pixel is"
        yield Measurement("lesion volume", None, "ml", warning=reason)
    elif volume.is_picture:
        area_cm2 = voxels * volume.spacing_mm[0] * volume.spacing_mm[1] / 100
        yield Measurement("lesion area", area_cm2, "cm2", method="pixels times their size", warning=warning)
    else:
        millilitres = voxels * _voxel_ml(volume)
        yield Measurement("lesion volume", millilitres, "ml", method="voxels times their size", warning=warning)


def _shares_of_lungs(
    lesion: npt.NDArray[np.bool_], volume: Volume, lungs: list[_Region], implausible: str | None
) -> Iterator[Measurement]:
    if lungs:
        yield from (_share(region, volume, implausible) for region in lungs)
        return
    name, of = "lesion share", "both lungs"
    if volume.is_picture or volume.units != "HU" or not volume.spacing_known:
        yield Measurement(name, None, "%", of, warning=_NO_LUNGS)
        return
    if implausible:
        yield Measurement(name, None, "%", of, warning=implausible)
        return
    voxels, note = lung_voxels_by_air(lesion, volume)
    if voxels is None:
        yield Measurement(name, None, "%", of, warning=f"{_NO_LUNGS}, and they can't be estimated: {note}")
        return
    share = 100 * np.count_nonzero(lesion) / voxels
    method = "lesion over air of the lungs and lesion"
    warning = "an estimate: " + _NO_LUNGS
    yield Measurement(name, float(share), "%", of, method, uncertainty=float(ERROR * share), warning=warning)


def _share(region: _Region, volume: Volume, implausible: str | None) -> Measurement:
    name = "lesion share in this slice" if volume.is_picture else "lesion share"
    method = f"lesion inside over all {'pixels' if volume.is_picture else 'voxels'} of the region"
    trouble = implausible or (cut_off(region.name, region.cut) if region.cut else None)
    if trouble:
        return Measurement(name, None, "%", region.name, method, warning=trouble)
    return Measurement(name, 100 * region.share, "%", region.name, method)


def _density(found: LesionDensity | None, volume: Volume) -> Iterator[Measurement]:
    """Rows of the density, `found` being None of what isn't a CT."""
    parts = {
        "ground-glass": f"lesion below {CONSOLIDATION_HU:g} HU",
        "consolidation": f"lesion from {CONSOLIDATION_HU:g} HU on",
    }
    if found is None:
        trouble: str | None = "the image isn't a CT in HU"
    else:
        trouble = found.trouble or ("there is no lesion" if found.mean_hu is None else None)
    if trouble or found is None:
        for name, method in parts.items():
            yield Measurement(f"{name} share of the lesion", None, "%", method=method, warning=trouble)
    else:
        for (name, method), voxels in zip(parts.items(), (found.ground_glass, found.consolidation), strict=True):
            if volume.spacing_known:
                yield Measurement(f"{name} volume", voxels * _voxel_ml(volume), "ml", method=method)
            yield Measurement(f"{name} share of the lesion", 100 * voxels / found.voxels, "%", method=method)
    method = "mean HU of its voxels"
    mean_hu = None if trouble or found is None else found.mean_hu
    yield Measurement("mean density of the lesion", mean_hu, "[hnsf'U]", method=method, warning=trouble)


def _score(lobes: list[_Region], volume: Volume, implausible: str | None) -> Iterator[Measurement]:
    name, of = "CT severity score", "both lungs"
    if volume.is_picture:
        yield Measurement(name, None, "1", of, _SCORE, warning="a slice doesn't show whole lobes")
    elif not lobes:
        yield Measurement(name, None, "1", of, _SCORE, warning=_NO_LOBES)
    elif implausible:
        yield Measurement(name, None, "1", of, _SCORE, warning=implausible)
    else:
        for lobe in lobes:
            if not lobe.cut:
                yield Measurement("CT severity points", lobe_points(lobe.share), "1", lobe.name, _SCORE)
        missing = [lobe for lobe in LOBES if lobe not in {one.name for one in lobes}]
        trouble = [f"the lobe mask has no {', no '.join(missing)}"] if missing else []
        trouble += [cut_off(lobe.name, lobe.cut) for lobe in lobes if lobe.cut]
        score = None if trouble else severity_score([lobe.share for lobe in lobes])
        yield Measurement(name, score, "1", of, _SCORE, warning="; ".join(trouble) or None)


def _voxel_ml(volume: Volume) -> float:
    return float(abs(np.linalg.det(volume.affine_ras[:3, :3]))) / 1000
