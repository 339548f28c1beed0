"""One case: its mask as `segment` gives it, the heat of what led to it on the grid of the source, and its files."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from torch import nn

from radseg.pipelines.case_work import CaseWorker
from radseg.pipelines.cases import Case, InputKind, digest
from radseg.pipelines.engine import Prediction
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.explain.attention import AttentionMaps
from radseg.pipelines.explain.cam import METHODS, SAID, RegionCAM
from radseg.pipelines.explain.focus import Focus, focus_on
from radseg.pipelines.explain.grids import axis_of_source, on_network_grid, on_source_grid
from radseg.pipelines.explain.panels import Plane, plane_of, save_panels
from radseg.pipelines.explain.sanity import STILL_ALIKE, cascade
from radseg.pipelines.explain.truth import Truths
from radseg.pipelines.io import Volume, write_map, write_map_png, write_mask, write_mask_png
from radseg.pipelines.measure.measurement import Measurement, as_rows

NOTHING = "nothing was segmented, so there is nothing to explain"


@dataclass(frozen=True)
class Question:
    """What is asked of every case.

    Attributes:
        method: gradcam, gradcam++ or attention.
        layer: of the network; attention takes all gates.
        label: name or number of a label; None takes the one with most voxels.
        target: "prediction" or "truth", over which logits are summed; None is the truth where it is known.
        sanity: also compare with the maps of random weights.
    """

    method: str
    layer: str | None
    label: str | int | None
    target: str | None
    sanity: bool


@dataclass(frozen=True, eq=False)
class _Heat:
    """A map in its part of the source's grid, 0 to 1."""

    values: npt.NDArray[np.float32]
    part: tuple[slice, ...]


class Explainer:
    """Explains cases one after the other.

    Args:
        worker: of the bundle's segmenter: its predictor, labels and provenance.
        question: what is asked.

    Raises:
        ConfigError: no such method, layer or label, or they don't go together.
    """

    def __init__(self, worker: CaseWorker, question: Question) -> None:
        self.worker, self.question = worker, question
        network = worker.predictor.network
        self.networks: list[nn.Module] = [
            getattr(one, "network", one) for one in getattr(network, "networks", [network])
        ]
        self.label = None if question.label is None else label_value(question.label, worker.labels)
        if question.target not in (None, "prediction", "truth"):
            raise ConfigError(f"target {question.target!r} isn't known; use prediction or truth")
        self.mappers: list[RegionCAM] | list[AttentionMaps]
        if question.method == "attention":
            if question.sanity:
                raise ConfigError(
                    "the sanity test is of gradcam and gradcam++; leave out --sanity or --method attention"
                )
            self.mappers = [AttentionMaps(one) for one in self.networks]
        elif question.method in METHODS:
            self.mappers = [RegionCAM(one, question.layer, question.method) for one in self.networks]
        else:
            raise ConfigError(f"no method {question.method!r}: there are {', '.join((*METHODS, 'attention'))}")

    def explain(self, case: Case, truths: Truths, folder: Path) -> dict[str, Any]:
        """Writes a case's files into a folder and gives what stands in its `explain.json`.

        Raises:
            InputError: the image or its truth can't be used.
            ConfigError: the layer can't be explained.
        """
        predictor = self.worker.predictor
        volume = predictor.loader.load_image(case)
        prediction = predictor(volume)
        truth = truths.of(case, volume)
        warnings = list(volume.notes)
        label, target, region = self._target(prediction.mask, truth, warnings)
        record: dict[str, Any] = {
            "case": case.name, "input_sha256": digest(case), **self.worker.provenance, "method": self.question.method,
            "layer": self.question.layer if self.question.method in METHODS else "attention gates",
            "label": self.worker.labels[label - 1], "target": target,
        }  # fmt: skip
        heat: dict[str, _Heat] = {}
        if region is None:
            warnings.append(NOTHING)
            plane = Plane(2, volume.array.shape[2] // 2)
        else:
            image = predictor.preprocessing({"image": volume.to_tensor()})["image"]
            grid = np.asarray(image.affine, dtype=np.float64)
            on_grid = on_network_grid(region, volume.affine_ras, grid, tuple(image.shape[1:]))
            focus = focus_on(on_grid, predictor.inferer, prediction.effort.box)
            heat = self._heat(image, on_grid, focus, label, volume, warnings)
            record |= {"windows": len(focus.windows), "box": [list(ends) for ends in focus.box]}
            record["members"] = len(self.mappers)
            held = _inside(on_grid, focus)
            if held < 0.995:
                warnings.append(f"{1 - held:.0%} of the {target}'s voxels of the label lie outside the explained part")
            part = next(iter(heat.values())).part
            across = None if focus.slice_axis is None else axis_of_source(focus.slice_axis, grid, volume.affine_ras)
            plane = _plane(region, part, volume, across)
            if self.question.sanity:
                record["sanity"] = self._sanity(image, on_grid, focus, label, warnings)
        record["measurements"] = as_rows(self._measured(heat, prediction.mask, truth, label))
        notes = [note for mapper in self.mappers for note in mapper.notes]
        record["warnings"] = list(dict.fromkeys((*warnings, *notes)))
        self._write(folder, case, volume, prediction, truth, heat, plane, record)
        return record

    def _target(
        self, mask: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8] | None, warnings: list[str]
    ) -> tuple[int, str | None, npt.NDArray[np.bool_] | None]:
        """The label, whether truth or prediction says where, and where; None and None if nowhere."""
        wanted = self.question.target
        if wanted == "truth" and truth is None:
            warnings.append("the case has no truth: explained over the prediction")
        known = {"truth": truth, "prediction": mask}
        order = ["prediction"] if wanted == "prediction" else ["truth", "prediction"]
        for name in order:
            labels = known[name]
            if labels is None:
                continue
            label = self.label or _commonest(labels, len(self.worker.labels))
            if label is not None and (region := labels == label).any():
                return label, name, region
            if name == "truth":
                warnings.append("the truth has no voxel of the label: explained over the prediction")
        return self.label or 1, None, None

    def _heat(
        self, image: MetaTensor, region: npt.NDArray[np.bool_], focus: Focus, label: int, volume: Volume,
        warnings: list[str],
    ) -> dict[str, _Heat]:  # fmt: skip
        names = self.mappers[0].names
        shape = tuple(stop - start for start, stop in focus.box)
        sums = {name: np.zeros(shape, np.float32) for name in names}
        inputs, target = image.as_tensor()[None], torch.from_numpy(region.astype(np.float32))
        for window in focus.windows:
            x, summed = focus.cut(inputs, window), focus.cut(target, window)
            for mapper in self.mappers:
                for name, found in zip(names, mapper(x, summed, label, len(self.worker.labels)), strict=True):
                    sums[name][focus.in_box(window)] += focus.uncut(found, window).numpy() / len(self.mappers)
        grid = np.asarray(image.affine, dtype=np.float64)
        heat = {}
        for name, values in sums.items():
            peak = float(values.max())
            if peak <= 0:
                warnings.append(f"{name} is 0 everywhere: no feature of the layer raises the logits; try another layer")
            elif not self.mappers[0].bounded:
                values /= peak
            heat[name] = _Heat(*on_source_grid(values, focus.box, grid, volume.affine_ras, volume.array.shape))
        return heat

    def _sanity(
        self, image: MetaTensor, region: npt.NDArray[np.bool_], focus: Focus, label: int, warnings: list[str]
    ) -> list[dict[str, Any]]:
        """The cascade of the first network, in the window that holds most of the target."""
        target = torch.from_numpy(region.astype(np.float32))
        window = max(focus.windows, key=lambda window: float(focus.cut(target, window).sum()))
        cam = RegionCAM(self.networks[0], self.question.layer, self.question.method)
        x = focus.cut(image.as_tensor()[None], window)
        rows = cascade(cam, x, focus.cut(target, window), label, len(self.worker.labels))
        last = rows[-1]["rank_correlation"] if rows else None
        if last is not None and last >= STILL_ALIKE:
            warnings.append(
                f"the map hardly depends on what was learnt: with random weights its rank correlation is {last:.2f}"
            )
        return rows

    def _measured(
        self, heat: Mapping[str, _Heat], mask: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8] | None, label: int
    ) -> list[Measurement]:
        """The share of each map's mass in the prediction and outside of it, beside the prediction's share of voxels."""
        rows = []
        of = self.worker.labels[label - 1]
        regions = {"prediction": mask} | ({} if truth is None else {"truth": truth})
        for where, labels in regions.items():
            chance = 0.0
            for name, one in heat.items():
                here = labels[one.part] == label
                chance = 100 * float(np.count_nonzero(here) / here.size)
                mass = float(one.values.sum(dtype=np.float64))
                inside = 100 * float(one.values[here].sum(dtype=np.float64)) / mass if mass > 0 else None
                outside = None if inside is None else 100 - inside
                how = f"{SAID[self.question.method]}, sum over the explained part of the image"
                rows += [
                    Measurement(f"{name} inside the {where}", inside, "%", of, how, warning=_doubt(inside, chance)),
                    Measurement(f"{name} outside the {where}", outside, "%", of, how, warning=_doubt(inside, chance)),
                ]
            if heat:
                how = "what a map without preference would have inside"
                rows.append(Measurement(f"explained part inside the {where}", chance, "%", of, how))
        return rows

    def _write(
        self, folder: Path, case: Case, volume: Volume, prediction: Prediction, truth: npt.NDArray[np.uint8] | None,
        heat: Mapping[str, _Heat], plane: Plane, record: Mapping[str, Any],
    ) -> None:  # fmt: skip
        source = case.files[0] if case.kind == InputKind.NIFTI else None
        if volume.is_picture:
            write_mask_png(folder / "mask.png", prediction.mask)
        else:
            write_mask(folder / "mask.nii.gz", prediction.mask, volume.affine_ras, source=source)
        cut = [slice(None)] * 3
        cut[plane.axis] = slice(plane.position, plane.position + 1)
        panels = {}
        for name, one in heat.items():
            whole = np.zeros(volume.array.shape, np.uint8, order="F")
            whole[one.part] = np.rint(np.clip(one.values, 0, 1) * 255)
            if volume.is_picture:
                write_map_png(folder / f"{name}.png", whole)
            else:
                write_map(folder / f"{name}.nii.gz", whole, volume.affine_ras, source=source)
            panels[self._above(name)] = whole[tuple(cut)].astype(np.float32) / np.float32(255)
        shown = None if truth is None else truth[tuple(cut)]
        title = f"{case.name} — not a medical device"
        save_panels(
            folder / "explain.png", volume, plane, prediction.mask[tuple(cut)], shown, panels, title,
            self.worker.preview_window_hu,
        )  # fmt: skip
        (folder / "explain.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def _above(self, name: str) -> str:
        if self.question.method == "attention":
            return f"attention, {name.removeprefix('heatmap_')}"
        return f"{SAID[self.question.method]}, {self.question.layer}"


def label_value(label: str | int, labels: Sequence[str]) -> int:
    """The number of a label given by name or number.

    Raises:
        ConfigError: the bundle has no such label.
    """
    if label in labels:
        return labels.index(str(label)) + 1
    if str(label).isdigit() and 1 <= int(label) <= len(labels):
        return int(label)
    near = difflib.get_close_matches(str(label), labels, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(labels)}"
    raise ConfigError(f"the bundle has no label {label!r}: {hint}")


def _commonest(labels: npt.NDArray[np.uint8], count: int) -> int | None:
    voxels = [np.count_nonzero(labels == value) for value in range(1, count + 1)]
    return int(np.argmax(voxels)) + 1 if any(voxels) else None


def _doubt(inside: float | None, chance: float) -> str | None:
    """Why a map says nothing of a region: percent of its mass and of the explained part in there."""
    if inside is None:
        return "the map is 0 everywhere"
    return "no more than by chance: the map lies elsewhere" if inside <= chance else None


def _inside(region: npt.NDArray[np.bool_], focus: Focus) -> float:
    """The share of a region that the windows hold."""
    held = region[tuple(slice(*ends) for ends in focus.box)]
    if focus.slice_axis is not None:  # some slices between the first and the last may be none of the windows
        first = focus.box[focus.slice_axis][0]
        held = np.take(held, [window[focus.slice_axis][0] - first for window in focus.windows], focus.slice_axis)
    return float(np.count_nonzero(held) / np.count_nonzero(region))


def _plane(region: npt.NDArray[np.bool_], part: tuple[slice, ...], volume: Volume, across: int | None) -> Plane:
    """The plane to show: where the region is largest in what was explained."""
    if volume.array.shape[2] == 1:
        return Plane(2, 0)
    inside = region[part]
    plane = plane_of(inside if inside.any() else np.ones_like(inside), volume.spacing_mm, across)
    return Plane(plane.axis, plane.position + (part[plane.axis].start or 0))
