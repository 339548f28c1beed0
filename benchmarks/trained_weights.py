"""Weights for the benchmarks of the engine: some minutes of seeded training on real images, once.

    python benchmarks/trained_weights.py --data ../shared/data

Masks of two engines are compared voxel by voxel, and with random weights every voxel is a tie. These networks know
enough to be sure of most voxels, and no more: they say nothing about how well a bundle does its task. `spine` learns
from the chest CT that is benchmarked and a lumbar CT (every vertebra is label 1, none is called fractured), `lung_ct`
the lungs, which take minutes where lesions take hours, from the same chest CT and slices of COVID-19 CTs.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
CACHE = ROOT / "runs" / "bench"
BUNDLES = ("spine", "lung_ct")
VERTEBRAE = (26, 50)  # ids of S1 to C1 in chest_ct/structures.csv
LOBES = (10, 14)  # ids of the lobes of both lungs there
TRAINED_ON = ("v01", "v02", "v04", "v05", "v06", "v07")  # spine at the bottom, as the bundle turns every volume
VALIDATED_ON = ("v03",)
EVERY_SLICE, EVERY_PNG = 3, 12  # neighbours differ little
BRIEF = {
    "spine": "--roi_size [64,64,64] --repeats 15 --max_epochs 24 --patience 24 --learning_rate 0.003 --amp true",
    "lung_ct": "--batch_size 4 --max_epochs 3 --patience 3 --learning_rate 0.001 --amp true",
}


def main() -> None:
    """Trains what isn't trained yet and says where the weights are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", default=BUNDLES, help=" and ".join(BUNDLES))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of chest_ct, spine_ct and covid_ct")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where datasets and weights are kept")
    chosen = parser.parse_args()
    for bundle in chosen.bundles:
        sys.stdout.write(f"{weights(bundle, chosen.data, chosen.cache)}\n")


def weights(bundle: str, data: Path = DATA, cache: Path = CACHE) -> Path:
    """The weights file of `bundle`, trained now if it isn't there; an interrupted training goes on.

    Args:
        bundle: spine or lung_ct.
        data: folder of chest_ct, spine_ct and covid_ct.
        cache: gets a folder for each bundle and way of training.
    """
    folder = cache / f"{bundle}-{hashlib.sha256(BRIEF[bundle].encode()).hexdigest()[:8]}"
    finished, dataset = folder / ".finished", folder / "data"
    dataset.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be training the same
        if not finished.is_file():
            datalist = (_spine_data if bundle == "spine" else _lung_data)(data, dataset)
            (dataset / "datalist.json").write_text(json.dumps(datalist, indent=1))
            train = [str(Path(sys.executable).with_name("radseg")), "train", bundle, "--dataset_dir", str(dataset)]
            train += ["--output", str(folder / "run"), "--device", "cpu", "--seed", "0", *BRIEF[bundle].split()]
            train += ["--resume"] if (folder / "run" / "last.pt").is_file() else ["--overwrite"]
            subprocess.run(train, check=True)
            finished.touch()
    return folder / "run" / "model.pt"


def _spine_data(data: Path, dataset: Path) -> dict[str, Any]:
    items = {}
    for name, image, labels, ids in (
        ("chest", "chest_ct/ct.nii.gz", "chest_ct/structures.nii.gz", VERTEBRAE),
        ("lumbar", "spine_ct/verse014/ct.nii.gz", "spine_ct/verse014/vertebrae.nii.gz", (1, 255)),
    ):
        structures = nib.load(data / labels)
        ids_ijk = np.asarray(structures.dataobj)
        vertebra = ((ids_ijk >= ids[0]) & (ids_ijk <= ids[1])).astype(np.uint8)
        nib.save(nib.Nifti1Image(vertebra, structures.affine), dataset / f"{name}.nii.gz")
        items[name] = {"image": str((data / image).resolve()), "label": f"{name}.nii.gz", "patient": name}
    return {"labels": {"1": "vertebra"}, "training": list(items.values()), "validation": [items["lumbar"]], "test": []}


def _lung_data(data: Path, dataset: Path) -> dict[str, Any]:
    covid = (data / "covid_ct").resolve()
    with (covid / "volumes.csv").open() as file:
        rows = list(csv.DictReader(file))[::EVERY_PNG]

    def slices(volumes: Sequence[str]) -> list[dict[str, str]]:
        return [
            {"image": str(covid / "ct" / png), "label": str(covid / "lung" / png), "patient": row["volume_estimated"]}
            for row in rows
            if row["volume_estimated"] in volumes and (png := f"{row['slice']}.png")
        ]

    for name, source, lungs_only in (("chest", "ct", False), ("chest_lungs", "structures", True)):
        image = nib.load(data / "chest_ct" / f"{source}.nii.gz").slicer[:, :, ::EVERY_SLICE]
        voxels = np.asarray(image.dataobj)
        if lungs_only:
            voxels = ((voxels >= LOBES[0]) & (voxels <= LOBES[1])).astype(np.uint8)
        nib.save(nib.Nifti1Image(voxels, image.affine), dataset / f"{name}.nii.gz")
    chest = {"image": "chest.nii.gz", "label": "chest_lungs.nii.gz", "patient": "chest"}
    return {
        "labels": {"1": "lung"},
        "training": [chest, *slices(TRAINED_ON)],
        "validation": slices(VALIDATED_ON),
        "test": [],
    }


if __name__ == "__main__":
    main()
