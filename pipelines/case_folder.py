"""The folder of one case: written beside its place, renamed into it when whole."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.io import Volume, write_map, write_map_png, write_mask, write_mask_png
from radseg.pipelines.report import save_preview

CASE_FILES = frozenset(
    {
        *("mask.nii.gz", "mask.png", "uncertainty.nii.gz", "uncertainty.png", "statistics.json", "preview.png"),
        *("segmentation.dcm", "rtstruct.dcm", "report.dcm"),
    }
)
"""All that a case's folder may hold."""


@contextmanager
def case_folder(output_dir: Path, name: str) -> Iterator[Path]:
    """A new folder to fill; it becomes `output_dir/name` at the end, or vanishes if filling it failed.

    What was at `output_dir/name` is replaced only then.
    """
    part, old, place = output_dir / f".{name}.part", output_dir / f".{name}.old", output_dir / name
    recover(output_dir, name)
    try:
        part.mkdir()
        yield part
        for file in part.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        if place.exists():
            place.rename(old)
        part.rename(place)
    finally:
        recover(output_dir, name)


def recover(output_dir: Path, name: str) -> None:
    """Clears up what an interruption left of a case: its unfinished folder, and a replaced one not yet deleted.

    Killed between the two renames of a replacement, the old result is the only whole one: it is put back.
    """
    part, old, place = output_dir / f".{name}.part", output_dir / f".{name}.old", output_dir / name
    if old.exists() and not place.exists():
        old.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(part, ignore_errors=True)


def write_case(
    folder: Path,
    case: Case,
    volume: Volume,
    mask: npt.NDArray[np.uint8],
    labels: Sequence[str],
    statistics: Mapping[str, Any],
    preview_window_hu: tuple[float, float],
    uncertainty: npt.NDArray[np.uint8] | None = None,
) -> None:
    """Writes the mask, the statistics and the preview of a case, and how uncertain each voxel is if that is known.

    Args:
        folder: where to.
        case: what was segmented; a picture or radiograph gets `mask.png`, in its rows and columns as stored (a JPEG
            turned by EXIF: as shown), everything else `mask.nii.gz` on the source grid.
        volume: its image.
        mask: labels, (i, j, k) on the grid of `volume`.
        labels: names of the labels 1, 2, ….
        statistics: written as `statistics.json`.
        preview_window_hu: grey scale of the preview.
        uncertainty: (i, j, k), 0–255 for 0–1, as the engine gives it of several members; becomes `uncertainty.nii.gz`
            (scaled to 0–1) or `uncertainty.png`.
    """
    if volume.is_picture:
        write_mask_png(folder / "mask.png", mask)
        if uncertainty is not None:
            write_map_png(folder / "uncertainty.png", uncertainty)
    else:
        source = case.files[0] if case.kind == InputKind.NIFTI else None
        write_mask(folder / "mask.nii.gz", mask, volume.affine_ras, source=source)
        if uncertainty is not None:
            write_map(folder / "uncertainty.nii.gz", uncertainty, volume.affine_ras, source=source)
    (folder / "statistics.json").write_text(json.dumps(statistics, indent=2, ensure_ascii=False) + "\n")
    title = f"{case.name} — not a medical device"
    save_preview(folder / "preview.png", volume, mask, labels, statistics, title, preview_window_hu)
