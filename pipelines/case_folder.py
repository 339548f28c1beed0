"""The folder of one case: written beside its place, renamed into it when whole."""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
        *("report.html", "segmentation.dcm", "rtstruct.dcm", "report.dcm"),
    }
)
"""All that a case's folder may hold."""

_OLD, _GONE = ".old", ".gone"
_TURNS = 3


@contextmanager
def case_folder(output_dir: Path, name: str) -> Iterator[Path]:
    """A new folder to fill; it becomes `output_dir/name` at the end, or vanishes if filling it failed.

    What was at `output_dir/name` is replaced only then. The folder is this attempt's own: another attempt at the same
    case, such as one on a node of a cluster that was given up too early, can't fill or delete it unnoticed.
    """
    place = output_dir / name
    part = _attempts(output_dir, name) / uuid.uuid4().hex
    try:
        part.mkdir(parents=True)
        yield part
        for file in part.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        _put(part, place)
    finally:
        _clear(output_dir, name, own=part.name)


def recover(output_dir: Path, name: str) -> None:
    """Clears up what interruptions left of a case: unfinished folders, and a replaced one not yet deleted.

    Killed between the two renames of a replacement, the old result is the only whole one: it is put back. An attempt
    at the case that is still going on somewhere can't finish after this.
    """
    _clear(output_dir, name)


def _attempts(output_dir: Path, name: str) -> Path:
    """What holds the folders of all attempts at a case, each of a name of its own."""
    return output_dir / f".{name}.part"


def _put(part: Path, place: Path) -> None:
    """Renames a whole folder to its place, replacing what is there, even if that was put there this moment."""
    for turn in range(_TURNS):
        with suppress(FileNotFoundError):
            place.rename(part.with_name(f"{part.name}-{turn}{_OLD}"))
        try:
            part.rename(place)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or turn == _TURNS - 1:
                raise


def _clear(output_dir: Path, name: str, own: str = "") -> None:
    """Deletes the folders of the attempts at a case whose names begin with `own`, and puts back what was replaced."""
    attempts, place = _attempts(output_dir, name), output_dir / name
    for left in sorted(attempts.glob(f"{own}*")):
        if left.suffix == _OLD and not place.exists():
            with suppress(OSError):
                left.rename(place)
                continue
        # under another name first: whoever still fills the folder can't rename it into place half deleted
        gone = left.with_name(f"{left.name}{_GONE}")
        with suppress(OSError):
            left.rename(gone)
        if gone.is_file():
            gone.unlink(missing_ok=True)
        shutil.rmtree(gone, ignore_errors=True)
    with suppress(OSError):  # held by another attempt, or not there
        attempts.rmdir()


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
