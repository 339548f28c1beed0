"""The verb `measure`: numbers from anyone's mask, with or without its image."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import Volume, load_mask, load_volume, mask_on_image
from radseg.pipelines.io.dicom.seg_mask import is_segmentation, read_segmentation
from radseg.pipelines.io.load import as_case
from radseg.pipelines.io.store.destination import Destination
from radseg.pipelines.io.store.local_copy import local_copy, urls_in_errors
from radseg.pipelines.io.store.url import last_part, place
from radseg.pipelines.measure import LesionBurden, LungFields, PelvisSymmetry
from radseg.pipelines.measure.given_mask import as_labels
from radseg.pipelines.measure.table import as_csv
from radseg.pipelines.report.atomic import write_whole
from radseg.transforms.slabs import count_labels

KINDS = ("spine", "lung_ct", "lung_xray", "pelvis_xray")
_RADIOGRAPHS = ("lung_xray", "pelvis_xray")
_ONE_LABEL = {"lung_ct": "lesion", "pelvis_xray": "pelvis", "lung_xray": "lung"}
_OF_SPINE = ("vertebra", "fractured vertebra")
_ENDINGS = (".json", ".csv")

Statistics = Callable[[npt.NDArray[np.uint8], Volume, str], dict[str, Any]]
"""Mask, its image and the case's name to numbers."""


@dataclass(frozen=True)
class Measured:
    """What `measure` found.

    Attributes:
        kind: what the mask was measured as.
        statistics: as in statistics.json: "labels", "measurements", "warnings" and more.
    """

    kind: str
    statistics: Mapping[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The measurements, each with name, value and unit."""
        return list(self.statistics["measurements"])

    @property
    def warnings(self) -> list[str]:
        """What is doubtful about mask and image."""
        return list(self.statistics["warnings"])


@urls_in_errors()
def measure(
    mask: str | Path,
    image: str | Path | None = None,
    *,
    kind: str,
    top_level: str | None = None,
    from_bottom: bool = False,
    lobes: str | Path | None = None,
    lung_mask: str | Path | None = None,
    output: str | Path | None = None,
) -> Measured:
    """Measures a mask as the bundle of that kind measures its own.

    - spine: 1 vertebra, 2 fractured vertebra, as the bundle writes; with any value above 2, one value a vertebra.
    - lung_ct: one value, the lesion.
    - lung_xray: one value, both lung fields; or two, one a field.
    - pelvis_xray: one value, the pelvis.

    Which value it is doesn't matter where there is one. Without an image there are no HU, and a PNG has no pixel size.

    Args:
        mask: NIfTI, NRRD, MHA, DICOM Segmentation or, of a slice or radiograph, PNG; path or URL. Values of a
            segmentation are its segments' numbers.
        image: what it was drawn on: a file, or the folder of a DICOM series; a DICOM Segmentation, which has frames
            only where it marks something, can't do without. Of an X-ray the mask's columns and rows are the image's; a
            volume's mask lies voxel for voxel on it.
        kind: one of `KINDS`.
        top_level: of a spine, the level of the topmost vertebra, such as T5.
        from_bottom: of a spine, count its vertebrae from the lowest; not with a top level.
        lobes, lung_mask: of lung_ct, see `LesionBurden`.
        output: file for the numbers, .json or .csv, replaced if it is there; path or URL.

    Raises:
        InputError: a file can't be read or isn't a mask, or mask and image don't lie on one grid.
        ConfigError: another kind, an option of another kind, or an output that is neither JSON nor CSV.
    """
    _check(
        kind,
        {"top_level": top_level, "from_bottom": from_bottom or None},
        {"lobes": lobes, "lung_mask": lung_mask},
        output,
    )
    file = local_copy(mask)
    of_mask, volume = _pair(file, None if image is None else local_copy(image), kind)
    labels, notes = _labels(as_labels(of_mask, file), kind, file)
    statistics = _statistics(kind, labels, top_level, from_bottom, lobes, lung_mask)(labels, volume, file.name)
    known = (*of_mask.notes, *(volume.notes if image is not None else ()), *notes, *statistics.pop("warnings", ()))
    record = {
        "measured_as": kind,
        "mask": file.name,
        "image": None if image is None else last_part(str(image).rstrip("/")) or None,
        "radseg_version": version("radseg"),
        **statistics,
        "warnings": list(dict.fromkeys(known)),
    }
    measured = Measured(kind, record)
    if output is not None:
        _write(measured, output)
    return measured


def _check(kind: str, of_spine: Mapping[str, Any], of_lung_ct: Mapping[str, Any], output: str | Path | None) -> None:
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} can't be measured; choose one of {', '.join(KINDS)}")
    for owner, options in (("spine", of_spine), ("lung_ct", of_lung_ct)):
        for name, value in options.items():
            if value is not None and kind != owner:
                raise ConfigError(f"{name} belongs to {owner}, not to {kind}; drop it")
    if output is not None and not str(output).lower().endswith(_ENDINGS):
        raise ConfigError(f"{output}: the numbers are written as .json or .csv; name the file so")


def _pair(file: Path, of_image: Path | None, kind: str) -> tuple[Volume, Volume]:
    """The mask, and the image that it lies on: itself, where none is given.

    Raises:
        InputError: as `measure` does.
    """
    modality = "DX" if kind in _RADIOGRAPHS else "CT"
    if is_segmentation(file):
        if of_image is None:
            raise InputError(f"{file}: a DICOM Segmentation needs the series that it was drawn on; give that as IMAGE")
        case = as_case(of_image, modality=modality)
        volume = load_volume(case, modality=modality)
        return read_segmentation(file, case, volume), volume
    of_mask = _as_picture(load_mask(file), kind)
    if of_image is None:
        return of_mask, of_mask
    volume = load_volume(of_image, modality=modality)
    return mask_on_image(of_image, volume, file, of_mask), volume


def _as_picture(mask: Volume, kind: str) -> Volume:
    """A radiograph's mask in a volume's format as a picture of columns and rows, whatever its affine says of place."""
    if kind in _RADIOGRAPHS and mask.array.shape[2] == 1:
        return replace(mask, is_picture=True)
    return mask


def _labels(values: npt.NDArray[np.uint8], kind: str, file: Path) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """The mask with the bundle's own values, and what was changed.

    Raises:
        InputError: more values than there are labels.
    """
    present = (np.flatnonzero(count_labels(values, 0)[1:]) + 1).tolist()
    if kind == "spine" or (kind == "lung_xray" and len(present) == 2):
        return values, []
    if len(present) > 1:
        listed = ", ".join(map(str, present[:8])) + (" …" if len(present) > 8 else "")
        wanted = "one value for both fields or two" if kind == "lung_xray" else f"one, the {_ONE_LABEL[kind]},"
        raise InputError(f"{file}: holds the values {listed}, where {wanted} is expected; keep that alone")
    note = f"value {present[0]} taken as {_ONE_LABEL[kind]}" if present not in ([], [1]) else ""
    return (values > 0).astype(np.uint8), [note] if note else []


def _statistics(
    kind: str,
    labels: npt.NDArray[np.uint8],
    top_level: str | None,
    from_bottom: bool,
    lobes: str | Path | None,
    lung_mask: str | Path | None,
) -> Statistics:
    """The component that measures a kind."""
    if kind == "spine":
        from radseg.pipelines.measure.vertebrae import VertebraMeasures

        numbered = int(labels.max(initial=0)) > len(_OF_SPINE)
        return VertebraMeasures(_OF_SPINE, numbered=numbered, top_level=top_level, from_bottom=from_bottom)
    if kind == "lung_ct":
        return LesionBurden(["lesion"], lung_mask=lung_mask, lobes=lobes)
    if kind == "pelvis_xray":
        return PelvisSymmetry(["pelvis"])
    two = int(labels.max(initial=0)) > 1
    return LungFields(["lung field 1", "lung field 2"] if two else ["lung"])


def _write(measured: Measured, output: str | Path) -> None:
    """Writes the numbers, whole or not at all.

    Raises:
        InputError: the file can't be written, or the store doesn't take it.
    """
    where = place(output)
    folder, name = (where.parent, where.name) if isinstance(where, Path) else where.rsplit("/", 1)
    destination = Destination(folder)
    is_json = name.lower().endswith(".json")
    text = json.dumps(measured.statistics, indent=2, ensure_ascii=False) + "\n" if is_json else as_csv(measured.rows)
    try:
        destination.local.mkdir(parents=True, exist_ok=True)
        write_whole(destination.local / name, [text])
    except OSError as error:
        raise InputError(f"{output}: can't be written ({error.strerror}); choose another file") from error
    destination.publish([name])
