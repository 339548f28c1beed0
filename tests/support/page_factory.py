"""Pages of made-up cases, for tests of what is on them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.engine.prediction import Effort
from radseg.pipelines.io import Volume
from radseg.pipelines.measure import LabelVolumes
from radseg.pipelines.report.case_page import CasePage

PROVENANCE = {
    "bundle": "spine", "bundle_version": "0.1.0", "weights_sha256": "ab" * 32, "recipe_sha256": "cd" * 32,
    "input_sha256": "ef" * 32, "overrides": {"tta": "flips"},
}  # fmt: skip
SPACING_MM = (1.5, 1.0, 2.5)
SHAPE = (40, 50, 30)


def balls(axcodes: str = "RAS") -> tuple[Volume, npt.NDArray[np.uint8]]:
    """Soft tissue with two balls of bone in it, and their mask: 1 left, anterior and high, 2 right, posterior and low.

    Args:
        axcodes: the order and direction in which the voxels are stored.
    """
    centres = {1: (12.0, 33.0, 20.0), 2: (29.0, 14.0, 9.0)}
    grid = np.indices(SHAPE).astype(float)
    mask = np.zeros(SHAPE, np.uint8)
    for label, centre in centres.items():
        away_mm = [(grid[axis] - centre[axis]) * SPACING_MM[axis] for axis in range(3)]
        mask[np.sqrt(sum(away**2 for away in away_mm)) < 9.0] = label
    hu = np.where(mask > 0, 900, 40).astype(np.int16)
    hu[0], hu[-1] = -1000, -1000
    image = nib.Nifti1Image(hu, np.diag([*SPACING_MM, 1.0]))
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axcodes))
    turned = image.as_reoriented(turn)
    stored_mask = nib.orientations.apply_orientation(mask, turn)
    return Volume(np.asarray(turned.dataobj), turned.affine, "HU"), np.asarray(stored_mask)


def radiograph(rows: int = 120, columns: int = 90) -> tuple[Volume, npt.NDArray[np.uint8]]:
    """A grey picture with a bright ellipse in its upper left, and its mask."""
    column, row = np.indices((columns, rows))
    mask = (((column - 25) / 15) ** 2 + ((row - 40) / 25) ** 2 < 1).astype(np.uint8)[..., np.newaxis]
    grey = np.where(mask > 0, 230.5, 60.25).astype(np.float32)
    affine = np.diag([-0.2, -0.4, 1.0, 1.0])  # a row is twice as high as a column is wide
    return Volume(grey, affine, "grey", is_picture=True), mask


def write_page(
    folder: Path,
    volume: Volume,
    mask: npt.NDArray[np.uint8],
    labels: Sequence[str],
    case: Case | None = None,
    uncertainty: npt.NDArray[np.uint8] | None = None,
    statistics: Mapping[str, Any] | None = None,
    with_identity: bool = False,
) -> Path:
    """Writes the page of a case as `segment --report` does; gives its file."""
    case = case or Case("case", InputKind.NIFTI, (folder / "x.nii.gz",), folder / "x.nii.gz")
    measured = {**LabelVolumes(labels)(mask, volume, case.name), **PROVENANCE, **(statistics or {})}
    Image.new("RGB", (40, 20)).save(folder / "preview.png")
    effort = asdict(Effort("torch", "exact", 1 if uncertainty is None else 2, 8, 8))
    page = CasePage(True, with_identity, labels, (-200.0, 1000.0))
    seconds = {"read": 0.25, "network": 2.0}
    page.write(folder, case, volume, mask, measured, seconds, effort, "cpu", uncertainty, "Entropy of two answers.")
    return folder / "report.html"
