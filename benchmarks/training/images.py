"""The images that both sides train on: real ones as one dataset a bundle, or the phantoms of sample_data.

spine gets the chest CT with its vertebrae as label 1, lung_ct slices of COVID-19 CTs with their lesions. How well a
network does on them is not the question.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SAMPLES = ROOT / "sample_data"
VERTEBRAE = (26, 50)  # ids of S1 to C1 in chest_ct/structures.csv
LUNG_WINDOW_HU = (-1350.0, 150.0)
SLICES = 160  # of the COVID-19 CTs, evenly spread


def make_dataset(bundle: str, data: Path, folder: Path) -> tuple[Path, str]:
    """A folder with a datalist.json, made now if it isn't there, and what is in it.

    Args:
        bundle: spine or lung_ct.
        data: folder of chest_ct and covid_ct; where they aren't, the phantoms of sample_data are taken.
        folder: where datasets are kept.
    """
    real = (data / {"spine": "chest_ct", "lung_ct": "covid_ct"}[bundle]).is_dir()
    what = {
        ("spine", True): "chest_ct, vertebrae",
        ("spine", False): "phantoms of sample_data",
        ("lung_ct", True): f"{SLICES} slices of covid_ct, lesions",
        ("lung_ct", False): "slices of the phantoms of sample_data",
    }[bundle, real]
    place = folder / f"{bundle}-{'real' if real else 'phantoms'}"
    if not (place / "datalist.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
        if bundle == "spine":
            items = _chest(data, place) if real else _phantoms("spine")
        else:
            items = _covid(data / "covid_ct") if real else _phantom_slices(place)
        content = {"training": items, "validation": items[:1], "test": []}
        part = place / "datalist.json.part"
        part.write_text(json.dumps(content, indent=1))
        part.replace(place / "datalist.json")
    return place, what


def _chest(data: Path, place: Path) -> list[dict[str, str]]:
    structures = nib.load(data / "chest_ct" / "structures.nii.gz")
    ids = np.asarray(structures.dataobj)
    vertebra = ((ids >= VERTEBRAE[0]) & (ids <= VERTEBRAE[1])).astype(np.uint8)
    nib.save(nib.Nifti1Image(vertebra, structures.affine), place / "chest.nii.gz")
    return [{"image": str((data / "chest_ct" / "ct.nii.gz").resolve()), "label": "chest.nii.gz"}]


def _covid(covid: Path) -> list[dict[str, str]]:
    with (covid / "volumes.csv").open() as file:
        names = [f"{row['slice']}.png" for row in csv.DictReader(file)]
    chosen = [names[at] for at in np.linspace(0, len(names) - 1, SLICES).astype(int)]
    return [{key: str((covid / kind / name).resolve()) for key, kind in _COVID.items()} for name in chosen]


_COVID = {"image": "ct", "label": "lesion"}


def _phantoms(bundle: str) -> list[dict[str, str]]:
    listed: list[dict[str, Any]] = json.loads((SAMPLES / bundle / "datalist.json").read_text())["training"]
    return [{key: str((SAMPLES / bundle / item[key]).resolve()) for key in ("image", "label")} for item in listed]


def _phantom_slices(place: Path) -> list[dict[str, str]]:
    """The slices of the volumes as PNG, rows from anterior to posterior."""
    items = []
    for number, item in enumerate(_phantoms("lung_ct")):
        volumes = {key: nib.as_closest_canonical(nib.load(path)) for key, path in item.items()}
        lower, upper = LUNG_WINDOW_HU
        grey = np.clip((np.asarray(volumes["image"].dataobj) - lower) / (upper - lower), 0.0, 1.0) * 255
        label = (np.asarray(volumes["label"].dataobj) > 0) * 255
        for at in range(grey.shape[2]):
            files = {key: place / f"{key}-{number:02}-{at:03}.png" for key in item}
            for key, voxels in (("image", grey), ("label", label)):
                Image.fromarray(voxels[::-1, ::-1, at].T.astype(np.uint8)).save(files[key])
            items.append({key: file.name for key, file in files.items()})
    return items
