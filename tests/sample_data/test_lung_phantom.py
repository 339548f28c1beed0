"""The lung CTs look like CT: air in the lungs, lesions within them, many slices without any."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from radseg.sample_data.lung_cases import LUNG_CASES
from radseg.sample_data.make import PNG_SLICES

NAMES = [case.name for case in LUNG_CASES]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def voxels(sample_data: Path, folder: str, name: str) -> NDArray[np.int16]:
    return np.asanyarray(nib.load(sample_data / "lung_ct" / folder / f"{name}.nii.gz").dataobj)


def test_masks_are_background_and_one_label(sample_data: Path, name: str) -> None:
    for folder in ("labelsTr", "lungs"):
        assert np.unique(voxels(sample_data, folder, name)).tolist() == [0, 1]


def test_lesions_lie_inside_the_lungs(sample_data: Path, name: str) -> None:
    lesion, lung = voxels(sample_data, "labelsTr", name), voxels(sample_data, "lungs", name)
    assert lesion.any()
    assert not (lesion.astype(bool) & ~lung.astype(bool)).any()


def test_some_slices_show_lesions_and_several_show_none(sample_data: Path, name: str) -> None:
    diseased = voxels(sample_data, "labelsTr", name).any(axis=(0, 1))
    assert diseased.sum() >= 4
    assert (~diseased).sum() >= 6


def test_one_case_has_few_lesions(sample_data: Path) -> None:
    shares = []
    for name in NAMES:
        shares.append(voxels(sample_data, "labelsTr", name).sum() / voxels(sample_data, "lungs", name).sum())
    assert min(shares) < 0.01
    assert sum(share > 0.03 for share in shares) >= 4


def test_lungs_have_the_volume_and_density_of_lungs(sample_data: Path, name: str) -> None:
    image, lung = voxels(sample_data, "imagesTr", name), voxels(sample_data, "lungs", name).astype(bool)
    lesion = voxels(sample_data, "labelsTr", name).astype(bool)
    zooms = nib.load(sample_data / "lung_ct" / "lungs" / f"{name}.nii.gz").header.get_zooms()
    litres = lung.sum() * float(np.prod(zooms)) / 1e6
    assert 2.5 < litres < 6
    assert -900 < np.median(image[lung & ~lesion]) < -800
    assert -650 < np.median(image[lesion]) < -200
    assert image.max() > 400


def test_both_lungs_are_there_and_the_liver_is_on_the_right(sample_data: Path, name: str) -> None:
    image, lung = voxels(sample_data, "imagesTr", name), voxels(sample_data, "lungs", name)
    columns = lung.shape[0]
    right, left = lung[: columns // 2].sum(), lung[columns // 2 :].sum()
    assert 0.6 < left / right < 1.4
    lowest = image[:, : image.shape[1] // 2, 2]
    gas = (
        (lowest < -850)
        & (np.arange(columns)[:, None] > columns // 4)
        & (np.arange(columns)[:, None] < 3 * columns // 4)
    )
    assert gas[columns // 2 :].sum() > gas[: columns // 2].sum()


def test_png_slices_are_the_windowed_slices_of_the_volume_as_displayed(sample_data: Path) -> None:
    for name, indices in PNG_SLICES.items():
        image, lesion = voxels(sample_data, "imagesTr", name), voxels(sample_data, "labelsTr", name)
        for index in indices:
            with Image.open(sample_data / "lung_ct" / "slices" / f"{name}_{index}.png") as png:
                shown = np.asarray(png).astype(np.float64)
            expected = np.clip((image[:, :, index].T + 1350.0) / 1500.0, 0, 1) * 255
            assert np.abs(shown - expected).max() <= 0.5
            with Image.open(sample_data / "lung_ct" / "slices_masks" / f"{name}_{index}.png") as png:
                assert np.array_equal(np.asarray(png), lesion[:, :, index].T * 255)


def test_the_png_slices_show_lesions_and_one_shows_none(sample_data: Path) -> None:
    sums = []
    for path in sorted((sample_data / "lung_ct" / "slices_masks").iterdir()):
        with Image.open(path) as png:
            sums.append(int((np.asarray(png) > 0).sum()))
    assert min(sums) == 0
    assert sum(total > 50 for total in sums) >= 4
