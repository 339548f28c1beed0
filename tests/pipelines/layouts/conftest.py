"""Miniatures of the published data sets, made on the spot."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

AFFINE = np.array([[0, -1.5, 0, 10], [0, 0, 1.5, 20], [-2, 0, 0, 30], [0, 0, 0, 1.0]])  # PIR-like: axes turned


def png(path: Path, seed: int, *, mask: bool = False, size: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size)).astype(np.uint8)
    Image.fromarray(((pixels > 127) * 255).astype(np.uint8) if mask else pixels).save(path)


def nifti(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, AFFINE)
    image.set_sform(AFFINE, code=2)
    image.set_qform(AFFINE, code=1)
    nib.save(image, path)


def ct(path: Path, seed: int) -> None:
    nifti(path, np.random.default_rng(seed).integers(-900, 900, (6, 7, 8)).astype(np.int16))


def blocks(*values: int) -> np.ndarray:
    """A mask with a slab of each value."""
    mask = np.zeros((6, 7, 8), np.uint8)
    for place, value in enumerate(values):
        mask[:, :, place] = value
    return mask


def pairs(folder: Path, images: str, masks: str, names: list[str], mask_size: int = 12) -> None:
    for number, name in enumerate(names):
        png(folder / images / f"{name}.png", number)
        png(folder / masks / f"{name}.png", number, mask=True, size=mask_size)


def pxr150(folder: Path) -> None:
    pairs(folder, "images_all", "masks", [f"{number:03d}" for number in range(10)])
    png(folder / "images_all" / "149.png", 149)


def covid_radiography(folder: Path) -> None:
    for kind in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"):
        pairs(folder / kind, "images", "masks", [f"{kind}-{number}" for number in range(1, 11)], mask_size=10)
        (folder / f"{kind}.metadata.xlsx").touch()


COVID_CT = [
    *(f"Jun_coronacases_case{case}_{number}" for case in (1, 2, 10) for number in (11, 12, 119)),
    *(f"Jun_radiopaedia_10_85902_{series}_case1{series}_{number}" for series in (1, 3) for number in (4, 5)),
    *(f"Jun_radiopaedia_14_85914_0_case13_{number}" for number in (46, 47)),
    *(f"Morozov_study_0{study}_{number}" for study in range(255, 265) for number in (7, 8)),
    *(f"bjorke_{number}" for number in (1, 8, 96)),
]


def kaggle_covid_ct(folder: Path) -> None:
    pairs(folder, "frames", "masks", COVID_CT)


def folder_of_pairs(folder: Path) -> None:
    pairs(folder, "images", "masks", [f"{site}/p{number}_1" for site in ("a", "b") for number in range(5)])


def msd(folder: Path) -> None:
    training = []
    for number in range(10):
        name = f"spleen_{number}.nii.gz"
        ct(folder / "imagesTr" / name, number)
        nifti(folder / "labelsTr" / name, blocks(0, 1))
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    content = {
        "name": "Spleen",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
        "numTraining": 10,
        "training": training,
        "test": ["./imagesTs/spleen_90.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def nnunet(folder: Path) -> None:
    for number in range(10):
        ct(folder / "imagesTr" / f"spleen_{number:03d}_0000.nii.gz", number)
        nifti(folder / "labelsTr" / f"spleen_{number:03d}.nii.gz", blocks(0, 1))
    ct(folder / "imagesTs" / "spleen_090_0000.nii.gz", 90)
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "spleen": 1, "region": [1, 2]},
        "numTraining": 10,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def verse(folder: Path) -> None:
    parts = {"dataset-01training": range(4, 11), "dataset-02validation": (11,), "dataset-03test": (12, 14)}
    for part, numbers in parts.items():
        for number in numbers:
            subject = f"sub-verse{number:03d}"
            for entity in ("_dir-ax",) if number != 14 else ("_split-verse253", "_split-verse254"):
                ct(folder / part / "rawdata" / subject / f"{subject}{entity}_ct.nii.gz", number + len(entity))
                mask = folder / part / "derivatives" / subject / f"{subject}{entity}_seg-vert_msk.nii.gz"
                nifti(mask, blocks(19, 20, 28, 26))
                (mask.parent / f"{subject}{entity}_seg-subreg_ctd.json").write_text("[]")


def totalsegmentator(folder: Path) -> None:
    lines = ["image_id;age;gender;institute;study_type;split"]
    for number in range(10):
        name = f"s{number:04d}"
        ct(folder / name / "ct.nii.gz", number)
        for place, part in enumerate(("vertebrae_T12", "vertebrae_L1", "vertebrae_S1", "sacrum", "liver")):
            mask = np.roll(blocks(1), place, axis=2)
            nifti(folder / name / "segmentations" / f"{part}.nii.gz", mask)
        lines.append(f"{name};60;m;A;ct;{'test' if number > 7 else 'val' if number == 7 else 'train'}")
    (folder / "meta.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")


MAKERS: dict[str, Callable[[Path], None]] = {
    "pxr150": pxr150,
    "covid-radiography": covid_radiography,
    "kaggle-covid-ct": kaggle_covid_ct,
    "folder-of-pairs": folder_of_pairs,
    "msd": msd,
    "nnunet": nnunet,
    "verse": verse,
    "totalsegmentator": totalsegmentator,
}


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the miniature of a layout and returns its folder."""

    def make(layout: str) -> Path:
        folder = tmp_path / f"published-{layout}"
        MAKERS[layout](folder)
        return folder

    return make


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Two CTs and masks of the values 0, 3, 27 and 28, each in a slab."""
    for number in range(2):
        ct(tmp_path / "pairs" / "images" / f"{number}.nii.gz", number)
        nifti(tmp_path / "pairs" / "masks" / f"{number}.nii.gz", blocks(0, 3, 27, 28))
    return tmp_path / "pairs"
