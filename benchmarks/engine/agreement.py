"""How far two masks of one image agree: their grids, and Dice of every class that is large enough to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

LARGE_ENOUGH = 1000  # voxels in the reference


def agreement(mask: Path | str, reference: Path | str) -> dict[str, Any]:
    """Whether shape and affine are equal, and Dice per foreground class of at least 1,000 voxels in either."""
    ours, theirs = nib.load(mask), nib.load(reference)
    if ours.shape != theirs.shape or not np.allclose(ours.affine, theirs.affine, atol=1e-4):
        return {"same_grid": False}
    ours_ijk, theirs_ijk = np.asarray(ours.dataobj), np.asarray(theirs.dataobj)
    classes = [label for label in np.union1d(ours_ijk, theirs_ijk) if label > 0]
    dice = {}
    for label in classes:
        a, b = ours_ijk == label, theirs_ijk == label
        sizes = int(a.sum()), int(b.sum())
        if max(sizes) >= LARGE_ENOUGH:
            dice[str(int(label))] = round(2 * int((a & b).sum()) / sum(sizes), 6)
    return {"same_grid": True, "dice": dice, "voxels_that_differ": int((ours_ijk != theirs_ijk).sum())}
