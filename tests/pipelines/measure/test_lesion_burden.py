"""How far a lesion reaches."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume
from radseg.pipelines.measure import LesionBurden

# axial slices lie along the first axis here, as in a volume stored in another orientation
AFFINE = np.array([[0, 1.0, 0, 0], [0, 0, 1.0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1.0]])
VOLUME = Volume(np.zeros((10, 4, 4), np.float32), AFFINE, "HU")


@pytest.fixture
def lesion() -> np.ndarray:
    mask = np.zeros((10, 4, 4), np.uint8)
    mask[2:5, :2, :2] = 1
    return mask


def _save(path: Path, array: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array.astype(np.uint8), AFFINE), path)
    return path


def test_the_share_of_slices_counts_axial_ones(lesion: np.ndarray) -> None:
    statistics = LesionBurden(["lesion"])(lesion, VOLUME, "case")
    assert statistics["slices"] == 10
    assert statistics["share_of_slices"] == 0.3
    assert "share_of_lung" not in statistics


def test_the_share_of_lung_is_inside_the_lung(lesion: np.ndarray, tmp_path: Path) -> None:
    lung = np.zeros((10, 4, 4))
    lung[4:8] = 1  # 64 voxels, four of them lesion
    _save(tmp_path / "case.nii.gz", lung)
    for given in (tmp_path, tmp_path / "case.nii.gz"):
        statistics = LesionBurden(["lesion"], given)(lesion, VOLUME, "case")
        assert statistics["share_of_lung"] == 0.0625


@pytest.mark.parametrize(("lung", "message"), [(np.zeros((10, 4, 4)), "empty"), (np.ones((10, 4, 5)), "shape")])
def test_a_lung_mask_that_cant_be_used_is_refused(
    lesion: np.ndarray, lung: np.ndarray, message: str, tmp_path: Path
) -> None:
    file = _save(tmp_path / "lung.nii.gz", lung)
    with pytest.raises(InputError, match=message):
        LesionBurden(["lesion"], file)(lesion, VOLUME, "case")


def test_a_missing_lung_mask_is_named(lesion: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no lung mask case\.nii\.gz"):
        LesionBurden(["lesion"], tmp_path)(lesion, VOLUME, "case")


def test_a_lung_mask_elsewhere_in_the_patient_is_refused(lesion: np.ndarray, tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] = 500
    nib.save(nib.Nifti1Image(np.ones((10, 4, 4), np.uint8), moved), tmp_path / "lung.nii.gz")
    with pytest.raises(InputError, match="different affines"):
        LesionBurden(["lesion"], tmp_path / "lung.nii.gz")(lesion, VOLUME, "case")
