"""How far a lesion reaches."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume, load_mask, load_volume
from radseg.pipelines.io.volume import LPS_TO_RAS
from radseg.pipelines.measure import LesionBurden
from radseg.pipelines.measure.lobes import LOBES

SAMPLES = Path(__file__).parents[3] / "sample_data" / "lung_ct"

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
    lung[3:7] = 1  # 64 voxels, eight of them lesion
    _save(tmp_path / "case.nii.gz", lung)
    for given in (tmp_path, tmp_path / "case.nii.gz"):
        statistics = LesionBurden(["lesion"], given)(lesion, VOLUME, "case")
        assert statistics["share_of_lung"] == 0.125


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


CT = np.diag([-1.0, 1, 2.0, 1])  # columns to the left, slices to the head: a voxel has 2 mm³


def chest() -> tuple[np.ndarray, np.ndarray]:
    """A CT of ten slices with two lungs, and its lobes as TotalSegmentator numbers them; each lung has 480 voxels."""
    lobes = np.zeros((20, 12, 12), np.uint8)
    lobes[12:18, 2:10, 6:11], lobes[12:18, 2:10, 1:6] = 10, 11
    lobes[2:8, 2:10, 7:11], lobes[2:8, 2:10, 5:7], lobes[2:8, 2:10, 1:5] = 12, 13, 14
    return np.where(lobes > 0, -850, 40).astype(np.float32), lobes


def rows_of(statistics: dict) -> dict[tuple[str, str], dict]:
    return {(row["name"], row.get("of", "")): row for row in statistics["measurements"]}


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., dict]:
    """Measures a lesion in that CT; lungs and lobes are files beside it."""
    hu, lobes = chest()
    nib.save(nib.Nifti1Image(lobes, CT), tmp_path / "lobes.nii.gz")
    nib.save(nib.Nifti1Image((lobes > 0).astype(np.uint8), CT), tmp_path / "lungs.nii.gz")

    def measure(lesion: np.ndarray, units: str = "HU", **given: object) -> dict:
        image = np.where(lesion > 0, np.where(np.arange(12) < 6, -600, -100), hu).astype(np.float32)
        files = {name: tmp_path / file if isinstance(file, str) else file for name, file in given.items()}
        return LesionBurden(["lesion"], **files)(lesion, Volume(image, CT, units), "case")

    return measure


def test_shares_of_lungs_and_lobes_and_the_score(measured: Callable[..., dict]) -> None:
    lesion = np.zeros((20, 12, 12), np.uint8)
    lesion[12:18, 2:10, 1:4] = 1  # 144 of the left lower lobe's 240 voxels
    lesion[2, 2, 5] = 1  # 1 of the middle lobe's 96
    statistics = measured(lesion, lobes="lobes.nii.gz")
    rows = rows_of(statistics)
    shares = {of: row["value"] for (name, of), row in rows.items() if name == "lesion share"}
    assert shares == pytest.approx(
        {"both lungs": 14500 / 960, "right lung": 100 / 480, "left lung": 14400 / 480, "left upper lobe": 0,
         "left lower lobe": 60, "right upper lobe": 0, "right middle lobe": 100 / 96, "right lower lobe": 0}, abs=1e-3
    )  # fmt: skip
    assert rows["CT severity points", "left lower lobe"]["value"] == 4
    assert rows["CT severity points", "right middle lobe"]["value"] == 1
    assert rows["CT severity score", "both lungs"]["value"] == 5
    assert rows["lesion volume", ""]["value"] == pytest.approx(145 * 2 / 1000, abs=1e-3)
    assert "warnings" not in statistics


def test_a_lung_mask_alone_gives_both_sides_and_says_that_a_score_takes_lobes(measured: Callable[..., dict]) -> None:
    lesion = np.zeros((20, 12, 12), np.uint8)
    lesion[2:8, 2:10, 1:3] = 1
    rows = rows_of(measured(lesion, lung_mask="lungs.nii.gz"))
    assert rows["lesion share", "right lung"]["value"] == pytest.approx(20)
    assert rows["lesion share", "left lung"]["value"] == 0
    assert rows["CT severity score", "both lungs"]["value"] is None
    assert "no lobe mask" in rows["CT severity score", "both lungs"]["warning"]


def test_ground_glass_and_consolidation_are_told_by_hu(measured: Callable[..., dict]) -> None:
    lesion = np.zeros((20, 12, 12), np.uint8)
    lesion[12:18, 2:10, 4:7] = 1  # slices 4 and 5 at −600, slice 6 at −100 HU
    rows = rows_of(measured(lesion))
    assert rows["ground-glass share of the lesion", ""]["value"] == pytest.approx(100 * 2 / 3, abs=1e-3)
    assert rows["consolidation volume", ""]["value"] == pytest.approx(48 * 2 / 1000)
    assert rows["mean density of the lesion", ""]["value"] == pytest.approx((-600 * 2 - 100) / 3, abs=1e-3)
    rows = rows_of(measured(lesion, units="grey"))
    assert rows["ground-glass share of the lesion", ""]["value"] is None
    assert "isn't a CT in HU" in rows["mean density of the lesion", ""]["warning"]


def test_a_mask_of_healthy_lung_is_implausible(measured: Callable[..., dict]) -> None:
    _, lobes = chest()
    statistics = LesionBurden(["lesion"])((lobes == 10).astype(np.uint8), Volume(chest()[0], CT, "HU"), "case")
    assert "as airy as healthy lung" in statistics["warnings"][0]
    rows = rows_of(statistics)
    for name in ("ground-glass share of the lesion", "mean density of the lesion"):
        assert rows[name, ""]["value"] is None
        assert "as airy as healthy lung (mean -850 HU)" in rows[name, ""]["warning"]


def test_a_mask_of_bone_is_implausible_and_has_no_share_of_anything(tmp_path: Path) -> None:
    hu, lobes = chest()
    bone = np.zeros(hu.shape, np.uint8)
    bone[9:11, 2:10, 2:10], hu[9:11, 2:10, 2:10] = 1, 302
    nib.save(nib.Nifti1Image(lobes, CT), tmp_path / "lobes.nii.gz")
    for given in ({}, {"lobes": tmp_path / "lobes.nii.gz"}):
        statistics = LesionBurden(["lesion"], **given)(bone, Volume(hu, CT, "HU"), "case")
        said = "implausible mask: the lesion is as dense as bone or metal (mean 302 HU)"
        assert said in statistics["warnings"]
        rows = statistics["measurements"]
        assert {row["name"] for row in rows if row["value"] is not None} == {"lesion volume"}
        assert sum(row.get("warning") == said for row in rows) >= 4


def test_a_consolidation_with_contrast_medium_is_no_bone(tmp_path: Path) -> None:
    hu, lobes = chest()
    hu[lobes == 11] = 110
    rows = rows_of(LesionBurden(["lesion"])((lobes == 11).astype(np.uint8), Volume(hu, CT, "HU"), "case"))
    assert rows["mean density of the lesion", ""]["value"] == 110


def test_no_lesion_has_zeros_and_none_but_never_nan(measured: Callable[..., dict]) -> None:
    rows = rows_of(measured(np.zeros((20, 12, 12), np.uint8), lobes="lobes.nii.gz"))
    assert rows["lesion volume", ""]["value"] == rows["lesion share", "both lungs"]["value"] == 0
    assert rows["CT severity score", "both lungs"]["value"] == 0
    assert rows["mean density of the lesion", ""] == {
        "name": "mean density of the lesion", "value": None, "unit": "[hnsf'U]",
        "method": "mean HU of its voxels", "warning": "there is no lesion",
    }  # fmt: skip


def test_a_lung_that_the_field_cuts_off_has_no_share_and_no_score(tmp_path: Path) -> None:
    hu, lobes = chest()
    hu, lobes = hu[..., :9], lobes[..., :9]  # the upper lobes end at the last slice
    nib.save(nib.Nifti1Image(lobes, CT), tmp_path / "lobes.nii.gz")
    lesion = (lobes == 11).astype(np.uint8)
    hu[lesion > 0] = -500
    statistics = LesionBurden(["lesion"], lobes=tmp_path / "lobes.nii.gz")(lesion, Volume(hu, CT, "HU"), "case")
    rows = rows_of(statistics)
    for of in ("left lung", "right lung", "both lungs", "left upper lobe"):
        assert rows["lesion share", of]["value"] is None
        assert rows["lesion share", of]["warning"].endswith("at the top")
    assert rows["lesion share", "left lower lobe"]["value"] == 100
    assert rows["CT severity score", "both lungs"]["value"] is None
    assert any("cuts the left lung off" in warning for warning in statistics["warnings"])


def test_lungs_that_touch_have_one_share_and_a_warning(measured: Callable[..., dict], tmp_path: Path) -> None:
    lungs = (chest()[1] > 0).astype(np.uint8)
    lungs[8:12, 5, 5] = 1
    nib.save(nib.Nifti1Image(lungs, CT), tmp_path / "touching.nii.gz")
    statistics = measured(np.zeros((20, 12, 12), np.uint8), lung_mask="touching.nii.gz")
    assert [of for name, of in rows_of(statistics) if name == "lesion share"] == ["both lungs"]
    assert "can't be told apart" in statistics["warnings"][0]


def test_a_lesion_beside_the_lung_mask_has_a_warning_and_no_share_of_it(measured: Callable[..., dict]) -> None:
    lesion = np.zeros((20, 12, 12), np.uint8)
    lesion[8:12, 2:10, 4:7] = lesion[12, 2:10, 4:7] = 1
    for given in ({"lung_mask": "lungs.nii.gz"}, {"lobes": "lobes.nii.gz"}):
        statistics = measured(lesion, **given)
        assert statistics["warnings"][0].startswith("80% of the lesion lies outside the lung mask")
        assert "share_of_lung" not in statistics
        rows = rows_of(statistics)
        shares = [row for (name, _), row in rows.items() if name in ("lesion share", "CT severity score")]
        assert shares
        assert all(row["value"] is None and row["warning"] for row in shares)
    assert "lies outside the lung mask" in rows["CT severity score", "both lungs"]["warning"]


def test_a_lesion_that_leaves_the_lung_mask_by_a_little_keeps_its_share(measured: Callable[..., dict]) -> None:
    lesion = np.zeros((20, 12, 12), np.uint8)
    lesion[11:14, 2:10, 4:7] = 1  # a third of it outside
    statistics = measured(lesion, lung_mask="lungs.nii.gz")
    assert statistics["warnings"] == [
        "33% of the lesion lies outside the lung mask, so its shares of the lungs are too small"
    ]
    assert rows_of(statistics)["lesion share", "left lung"]["value"] == pytest.approx(10)


def test_a_slice_without_hu_has_shares_of_the_slice_alone(tmp_path: Path) -> None:
    lesion = np.zeros((20, 12, 1), np.uint8)
    lesion[3:5, 2:10] = 1
    lungs = (chest()[1][:, :, 5:6] > 0).astype(np.uint8)
    Image.fromarray(lungs[:, :, 0].T * 255).save(tmp_path / "lung.png")
    picture = Volume(np.zeros(lesion.shape, np.float32), LPS_TO_RAS, "grey", spacing_known=False, is_picture=True)
    rows = rows_of(LesionBurden(["lesion"], tmp_path / "lung.png")(lesion, picture, "case"))
    assert rows["lesion share of the image", ""]["value"] == pytest.approx(100 * 16 / 240, abs=1e-3)
    assert rows["lesion share in this slice", "right lung"]["value"] == pytest.approx(100 * 16 / 48, abs=1e-3)
    assert rows["lesion volume", ""]["value"] is None
    assert "whole lobes" in rows["CT severity score", "both lungs"]["warning"]


def test_without_a_lung_mask_the_share_is_estimated_from_the_lungs_air() -> None:
    volume = load_volume(SAMPLES / "imagesTr" / "lung01.nii.gz")
    lesion = load_mask(SAMPLES / "labelsTr" / "lung01.nii.gz").array.astype(np.uint8)
    lungs = load_mask(SAMPLES / "lungs" / "lung01.nii.gz").array > 0
    row = rows_of(LesionBurden(["lesion"])(lesion, volume, "case"))["lesion share", "both lungs"]
    truth = 100 * (lesion[lungs] > 0).mean()
    assert abs(row["value"] - truth) <= row["uncertainty"]
    assert row["warning"].startswith("an estimate")


def test_a_lesion_of_known_share_in_real_lobes(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "chest_ct" / "structures.nii.gz"
    stored = load_mask(file)
    labels = stored.array.astype(np.uint8)
    lesion = np.zeros(labels.shape, np.uint8)
    wanted = {10: 0.30, 11: 0.03, 13: 0.60, 14: 0.90}  # of each lobe, from its first voxel on
    for lobe, share in wanted.items():
        voxels = np.flatnonzero(labels == lobe)
        lesion.flat[voxels[: round(share * len(voxels))]] = 1
    statistics = LesionBurden(["lesion"], lobes=file)(lesion, stored, "case")
    rows = rows_of(statistics)
    shares = [rows["lesion share", lobe]["value"] for lobe in LOBES]
    assert shares == pytest.approx([30, 3, 0, 60, 90], abs=0.01)
    assert rows["CT severity score", "both lungs"]["value"] == 3 + 1 + 0 + 4 + 5
    left = np.isin(labels, (10, 11))
    assert rows["lesion share", "left lung"]["value"] == pytest.approx(100 * lesion[left].mean(), abs=1e-3)
    assert rows["lesion volume", ""]["value"] == pytest.approx(lesion.sum() * 0.703125**2 * 2.5 / 1000, rel=1e-4)
