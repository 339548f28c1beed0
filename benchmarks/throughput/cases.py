"""Any number of simulated cases, made of the phantoms in sample_data: the same anatomy, other noise. Simulated.

They stand for a batch's files and their handling; no number but seconds means anything on them.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

PHANTOMS = Path(__file__).parents[2] / "sample_data" / "spine" / "imagesTr"
TIMES = {"tiny": 1, "medium": 2}  # voxels along each side, of the phantom's
NOISE_HU = 5.0


def make_cases(folder: Path, count: int, size: str) -> Path:
    """A folder with `count` CTs of a size, always the same; made now if it isn't there.

    Args:
        folder: where such folders are.
        count: how many.
        size: tiny (a phantom as it is) or medium (each voxel cut into eight).
    """
    place = folder / f"{size}-{count}"
    if place.is_dir():
        return place
    part = place.with_name(f"part-{place.name}")
    part.mkdir(parents=True, exist_ok=True)
    phantoms = [nib.load(file) for file in sorted(PHANTOMS.glob("*.nii.gz"))]
    for number in range(count):
        phantom, times = phantoms[number % len(phantoms)], TIMES[size]
        hu = np.asarray(phantom.dataobj, dtype=np.float32)
        for axis in range(3):
            hu = np.repeat(hu, times, axis)
        noise_hu = np.random.default_rng(number).normal(0.0, NOISE_HU, hu.shape)
        affine = phantom.affine @ np.diag([1 / times, 1 / times, 1 / times, 1.0])
        image = nib.Nifti1Image(np.rint(hu + noise_hu).astype(np.int16), affine)
        nib.save(image, part / f"case{number:04}.nii.gz")
    return part.rename(place)
