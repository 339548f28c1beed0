"""The verb `data ct`: simulated CTs of pelvises with their lower lumbar spine, from surfaces of bones."""

from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io.nifti import write_mask
from radseg.pipelines.io.store.destination import made_at
from radseg.pipelines.io.store.local_copy import local_copy, urls_in_errors
from radseg.pipelines.io.store.url import is_remote
from radseg.pipelines.io.store.url import place as placed
from radseg.pipelines.layouts.vertebrae import INTACT, NUMBERED_LABELS
from radseg.pipelines.simulate.pelvis_surfaces import PelvisFiles, no_pelvis, pelvises
from radseg.pipelines.simulate.simulated_dataset import Save, Simulated, refuse_full, write_simulated
from radseg.transforms.radiography.pelvis_ct import pelvis_ct

_FINEST_MM, _COARSEST_MM = 0.5, 5.0
_LUMBAR_SHARE = 0.5


@dataclass(frozen=True)
class MadeCTs:
    """What `make_pelvis_cts` wrote.

    Attributes:
        folder: the dataset's folder or URL, with images/, masks/ and datalist.json.
        items: number of CTs in each split.
    """

    folder: Path | str
    items: dict[str, int]


def make_pelvis_cts(
    source: str | Path,
    output: str | Path,
    *,
    count: int = 1,
    seed: int = 0,
    spacing_mm: float = 1.2,
    progress: bool = True,
) -> MadeCTs:
    """Makes a dataset of simulated CTs: images/*.nii.gz in HU, masks/*.nii.gz and a datalist.json.

    Hip bones and sacrum are the surfaces'; femurs, L3 to L5 and soft tissue are simple shapes. Every second CT, by
    chance, ends below the vertebrae. The masks number vertebrae as `data import verse --numbered` does (122 to 124), so
    that `train spine` can break them and `data merge` joins both; all else is background. Build, tissue, densities and
    noise are drawn anew for each; the same seed gives the same voxels.

    Args:
        source: a folder of surfaces (see `pelvises`); path or URL.
        output: a new or empty folder, or a URL.
        count: CTs per pelvis.
        seed: of everything that is drawn.
        spacing_mm: of the voxels, 0.5 to 5.
        progress: show a bar.

    Raises:
        ConfigError: an impossible count, seed or spacing.
        InputError: a surface can't be used, or `output` isn't an empty folder.
    """
    if is_remote(output):
        with urls_in_errors(), made_at(output, "datalist.json") as staging:
            made = make_pelvis_cts(source, staging, count=count, seed=seed, spacing_mm=spacing_mm, progress=progress)
        return replace(made, folder=placed(output))
    if count < 1 or seed < 0 or not _FINEST_MM <= spacing_mm <= _COARSEST_MM:
        raise ConfigError(
            f"count {count}, seed {seed}, spacing {spacing_mm:g} mm: count ≥ 1, seed ≥ 0 and {_FINEST_MM} to "
            f"{_COARSEST_MM:g} mm are needed"
        )
    origin, folder = local_copy(source), Path(output)
    if not origin.is_dir():
        raise InputError(f"{origin}: no such folder; give one with surfaces in left/, right/ and sacrum/")
    refuse_full(folder)
    simulated = Simulated(
        [(pelvis.name, _saving(pelvis, spacing_mm)) for pelvis in pelvises(origin)], count, seed, ".nii.gz",
        {
            "name": "simulated CTs of pelvises",
            "description": "Computed from surfaces of pelvic bones, no real CTs. Mask: L3 to L5, simple shapes.",
            "labels": NUMBERED_LABELS,
        },
        "simulating CTs",
    )  # fmt: skip
    return MadeCTs(folder, write_simulated(simulated, folder, progress))


def _saving(pelvis: PelvisFiles, spacing_mm: float) -> Save:
    def save(rng: np.random.Generator, image: Path, mask: Path) -> None:
        lumbar = bool(rng.random() < _LUMBAR_SHARE)
        try:
            ct = pelvis_ct(pelvis.bones(rng), spacing_mm, rng, lumbar)
        except ValueError as error:
            raise no_pelvis(pelvis, error) from error
        affine = ct.grid.affine_ras.numpy()
        nib.save(nib.Nifti1Image(ct.hu, affine), image)
        write_mask(mask, np.where(ct.vertebrae > 0, ct.vertebrae + np.uint8(INTACT), np.uint8(0)), affine)

    return save
