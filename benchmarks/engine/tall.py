"""CTs of any number of slices, made from a real one: slices of 1 mm, mirrored at its ends. Simulated.

Mirrored, so that there is anatomy everywhere without seams; nobody is built like that, and no number but seconds and
bytes means anything on them.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch

SLICE_MM = 1.0
LEVEL = 1  # of gzip: fast


def tall_ct(source: Path, slices: int, folder: Path) -> Path:
    """The file of a CT of that many slices in `folder`, made now if it isn't there."""
    file = folder / f"ct-{slices}.nii.gz"
    if not file.is_file():
        image = nib.load(source)
        hu = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32))
        length_mm = hu.shape[2] * float(image.header.get_zooms()[2])
        size = (*hu.shape[:2], round(length_mm / SLICE_MM))
        thin = torch.nn.functional.interpolate(hu[:, None], size=size[1:], mode="bilinear")[:, 0]  # (x, y, thin z)
        thin_hu = thin.round().to(torch.int16).numpy()
        period = np.concatenate([np.arange(size[2]), np.arange(size[2])[::-1]])
        tall = thin_hu[:, :, np.resize(period, slices)]
        affine = image.affine.copy()
        affine[:3, 2] *= SLICE_MM / np.linalg.norm(affine[:3, 2])
        folder.mkdir(parents=True, exist_ok=True)
        _save(nib.Nifti1Image(tall, affine), file)
    return file


def _save(image: nib.Nifti1Image, file: Path) -> None:
    part = file.with_name(f"part-{file.name}")
    with nib.openers.Opener(part, "wb", compresslevel=LEVEL) as stream:
        image.to_stream(stream.fobj)
    part.rename(file)
