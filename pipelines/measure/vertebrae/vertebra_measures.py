"""Vertebrae in statistics.json: what each measures, and what to know before using it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io import Volume
from radseg.pipelines.measure.measurement import Measurement, as_rows
from radseg.pipelines.measure.vertebrae.core_hu import core_density
from radseg.pipelines.measure.vertebrae.genant import Deformity
from radseg.pipelines.measure.vertebrae.heights import MeasuredBody, measured_bodies
from radseg.pipelines.measure.vertebrae.instances import Instances, numbered_vertebrae, split_vertebrae
from radseg.pipelines.measure.vertebrae.levels import checked_level, names_of, too_many
from radseg.pipelines.measure.vertebrae.mask_values import doubts_of_names
from radseg.pipelines.measure.vertebrae.plausible import plausible_deformities
from radseg.pipelines.measure.volumes import LabelVolumes
from radseg.transforms.vertebrae.endplates import Heights
from radseg.transforms.vertebrae.numbering import INTACT

_FRACTURED = "fractured vertebra"
_COARSE_MM = 3.0
_ALONG = "mid-sagittal plane, along the vertebra's own axis (Genant 1993)"
_IN_CT = "between the endplates in the CT near the mask's"
_OF_MASK = "between the mask's ends"
_GRADED = "form that fits best, Genant 1993"
_CUT = "the edge of the field of view"


class VertebraMeasures:
    """Volumes as `LabelVolumes`, and for each vertebra heights, height loss, Genant type and grade, and core density.

    Vertebrae are told apart (`split_vertebrae`) and counted from the top of the field, or from the bottom; they get
    level names only where the highest one's is given. Heights are the anterior, middle and posterior of the body in mm,
    between endplates that are looked for in a CT near the mask's (`refined`), in other images the mask's. What they
    lack is given in per cent of the body's own posterior height and of the heights expected from the other vertebrae
    (`deformities`: Genant et al., J Bone Miner Res 8(9), 1993). The density is the mean HU of the core (`core_density`:
    Pickhardt et al., Ann Intern Med 158(8), 2013), where the image is a CT. A core that isn't bone has no density, and
    the heights and grade of its vertebra have a warning: cement doesn't change them, a mask that doesn't lie on bone
    makes them void. Heights that no vertebra has keep their numbers with a warning and give no grade
    (`plausible_deformities`). A vertebra without a number has a warning that says why.

    Args:
        labels: names of the labels 1, 2, …; `fractured vertebra` is the one whose voxels are counted as such.
        numbered: the mask holds one value for each vertebra, which need not be told apart.
        top_level: level of the highest vertebra of the mask, such as `T5`; None counts instead. `C1`, which has no body
            and so no heights, is counted in a numbered mask alone.
        from_bottom: count from the lowest vertebra of the field; not with a top level.
        mask_spacing_mm: spacing at which the mask was made, where that may be coarser than the image: heights can't be
            surer than it.

    Raises:
        ConfigError: there is no such level, or it is given together with `from_bottom`.
    """

    def __init__(
        self,
        labels: Sequence[str],
        numbered: bool = False,
        top_level: str | None = None,
        from_bottom: bool = False,
        mask_spacing_mm: Sequence[float] | None = None,
    ) -> None:
        self.volumes = LabelVolumes(labels)
        self.numbered = numbered
        self.top_level = checked_level(top_level, numbered)
        self.from_bottom = from_bottom
        if from_bottom and top_level is not None:
            raise ConfigError(
                f"top_level {top_level!r} names the vertebrae, from_bottom counts them; give one of the two"
            )
        self.mask_spacing_mm = max(mask_spacing_mm) if mask_spacing_mm else 0.0
        self.fractured = list(labels).index(_FRACTURED) + 1 if _FRACTURED in labels and not numbered else None
        self.fractures_alone = list(labels) == [_FRACTURED] and not numbered

    def __call__(self, mask: npt.NDArray[np.integer], volume: Volume, case: str) -> dict[str, Any]:
        """Statistics of one mask.

        Args:
            mask: labels, (i, j, k) on the grid of `volume`.
            volume: the CT that was segmented.
            case: name of the case.
        """
        statistics = {} if self.numbered else self.volumes(np.asarray(mask, np.uint8), volume, case)
        values: list[int] = []
        if self.numbered:
            found, values = numbered_vertebrae(mask, volume.affine_ras)
        else:
            found = split_vertebrae(mask, volume.affine_ras)
        image = volume.array if volume.units == "HU" else None
        bodies = measured_bodies(found.numbers, volume.affine_ras, found.count, self.mask_spacing_mm, image)
        names = names_of(found.count, self.top_level, self.from_bottom)
        if names[:1] == ["C1"]:
            bodies[0] = replace(bodies[0], body=None, trouble="C1 has no body")
        shares = self._marked(mask, found)
        graded, doubts = plausible_deformities(bodies, [share > 0.5 for share in shares])
        measurements = [Measurement("vertebrae", found.count, "1", method="counted along the spine's curve")]
        warnings = [*found.warnings, *self._of_names(found.count, values), *self._of_grid(volume, bodies)]
        for place, (name, body, deformity) in enumerate(zip(names, bodies, graded, strict=True)):
            doubt = doubts[place]
            rows, said = self._rows(name, body, deformity, doubt, names, volume.units == "HU")
            if values:
                rows.insert(0, Measurement("mask value", values[place], "1", name, "read from the mask"))
            if self.fractured is not None:
                share = Measurement(
                    "marked fractured", 100 * shares[place], "%", name, "share of the vertebra's voxels"
                )
                rows.append(share)
            if volume.units == "HU":
                density, implausible = _density(name, place, body, found, volume)
                density = replace(density, warning=density.warning or doubt)
                rows = [*(replace(row, warning=row.warning or implausible) for row in rows), density]
                said = [*said, *([f"{name}: {implausible}; its heights and grade may be wrong"] if implausible else [])]
            measurements += rows
            warnings += said
        arches = [name for name, one in zip(names, bodies, strict=True) if one.at_edge and one.body is not None]
        if arches:
            warnings.append(f"{_CUT} reaches the arches of {', '.join(arches)}; heights are those of whole bodies")
        return {**statistics, "measurements": as_rows(measurements), "warnings": warnings}

    def _marked(self, mask: npt.NDArray[np.integer], found: Instances) -> list[float]:
        """The share of each vertebra's voxels that the mask calls fractured."""
        if self.fractured is None or self.fractures_alone or not found.count:
            return [float(self.fractures_alone)] * found.count
        places = np.maximum(found.numbers - INTACT, 0).ravel()
        whole = np.bincount(places, minlength=found.count + 1)[1:]
        part = np.bincount(places[(mask == self.fractured).ravel()], minlength=found.count + 1)[1:]
        return [float(share) for share in part / np.maximum(whole, 1)]

    def _of_names(self, count: int, values: Sequence[int]) -> list[str]:
        """Why the names may be wrong."""
        if self.top_level is None:
            return []
        many = too_many(count, self.top_level)
        return [*([many] if many else []), *doubts_of_names(values, self.top_level)]

    def _of_grid(self, volume: Volume, bodies: Sequence[MeasuredBody]) -> list[str]:
        """What the grid and the labels mean for every vertebra."""
        said = []
        measured = [one for one in bodies if one.body is not None]
        if measured and max(volume.spacing_mm) > _COARSE_MM:
            worst = max(one.uncertainty_mm for one in measured)
            said.append(
                f"slices are {max(volume.spacing_mm):.1f} mm apart: heights are uncertain by up to ±{worst:.1f} mm, "
                "and grades with them"
            )
        if measured and self.fractures_alone:
            said.append("the mask holds fractured vertebrae alone: there are no intact neighbours to compare with")
        return said

    def _rows(
        self,
        name: str,
        measured: MeasuredBody,
        deformity: Deformity | None,
        doubt: str | None,
        names: Sequence[str],
        in_ct: bool,
    ) -> tuple[list[Measurement], list[str]]:
        """Heights, losses, type and grade of a vertebra, and its warnings."""
        along = f"{_ALONG}, {_IN_CT if in_ct else _OF_MASK}"
        if measured.body is None:
            trouble = measured.trouble or "its body can't be measured"
            rows = [Measurement(f"{part} height", None, "mm", name, along, warning=trouble) for part in _PARTS]
            rows.append(Measurement("Genant grade", None, "1", name, _GRADED, warning=trouble))
            return rows, [f"{name} isn't measured: {trouble}"]
        rows = [
            Measurement(f"{part} height", height, "mm", name, along, measured.uncertainty_mm, warning=doubt)
            for part, height in zip(_PARTS, _values(measured.body.heights), strict=True)
        ]
        if deformity is None:
            rows.append(Measurement("Genant grade", None, "1", name, _GRADED, warning=doubt))
            return rows, [f"{name} has no grade: {doubt}"]
        against = "lower of anterior and middle against the own posterior height"
        # the errors of the two heights are independent
        own = measured.uncertainty_mm / measured.body.heights.posterior_mm * math.hypot(1, 1 - deformity.of_own)
        rows.append(Measurement("height loss to own", 100 * deformity.of_own, "%", name, against, 100 * own))
        reference = "own posterior height alone; a crush can't be told"
        if deformity.of_neighbours is not None and deformity.expected is not None:
            reference = "expected from " + ", ".join(names[place] for place in deformity.reference)
            for part, lost, expected in zip(_PARTS, deformity.of_neighbours, _values(deformity.expected), strict=True):
                grid = 100 * measured.uncertainty_mm / expected
                rows.append(Measurement(f"{part} height loss to neighbours", 100 * lost, "%", name, reference, grid))
        rows.append(Measurement("height loss", 100 * deformity.loss, "%", name, f"{_GRADED}; {reference}"))
        kind = deformity.kind or "none"
        rows.append(Measurement("Genant type", kind, "1", name, f"{_GRADED}; {reference}"))
        rows.append(Measurement("Genant grade", deformity.grade, "1", name, f"{_GRADED}; {reference}"))
        return rows, []


_PARTS = ("anterior", "middle", "posterior")


def _values(heights: Heights) -> tuple[float, float, float]:
    return heights.anterior_mm, heights.middle_mm, heights.posterior_mm


def _density(
    name: str, place: int, measured: MeasuredBody, found: Instances, volume: Volume
) -> tuple[Measurement, str | None]:
    """Mean HU of a vertebra's core, and why that isn't one of bone, or None."""
    method = "spongy bone in the front of the body (Pickhardt 2013)"
    unit = "[hnsf'U]"
    if measured.body is None:
        return Measurement("core density", None, unit, name, method, warning=measured.trouble), None
    affine = volume.affine_ras.copy()
    affine[:3, 3] += affine[:3, :3] @ [one.start for one in measured.box]
    bone = found.numbers[measured.box] == INTACT + place + 1
    core = core_density(volume.array[measured.box], bone, measured.body, affine)
    if core is None:
        few = "too few voxels lie inside its walls"
        return Measurement("core density", None, unit, name, method, warning=few), None
    method = f"{method}, {core.voxels} voxels, standard deviation {core.sd_hu:.0f} HU"
    mean_hu = None if core.trouble else core.mean_hu
    return Measurement("core density", mean_hu, unit, name, method, warning=core.trouble), core.trouble
