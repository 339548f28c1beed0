"""Real files with real faults; skipped where ../shared/data isn't."""

from pathlib import Path

import numpy as np
import pytest

from radseg.pipelines.cases import Case, Refusal, discover
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_mask, load_pair, load_volume

DATA = Path(__file__).parents[4] / "shared" / "data"
CORNERSTONE = DATA / "dicom" / "cornerstone_testImages" / "testImages"
FAILING = DATA / "dicom" / "dicom2nifti_failing" / "tests" / "data" / "failing"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real images (../shared/data) are not here")

LOSSLESS = ["", ".1", ".2", ".1.99", ".5", ".4.57", ".4.70", ".4.80", ".4.90"]
# Allowed mean difference in HU: near-lossless and wavelet by a few units, 12 bits over a doubled step, 8 bits over 32.
LOSSY = {".4.81": 1.0, ".4.91": 2.0, ".4.51": 6.0, ".4.53": 6.0, ".4.55": 6.0, ".4.50": 20.0}


def transferred(syntax: str) -> Path:
    """The slice in the transfer syntax 1.2.840.10008.1.2 followed by this."""
    (file,) = CORNERSTONE.glob(f"CTImage.dcm_*_1.2.840.10008.1.2{syntax}.dcm")
    return file


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_transfer_syntaxes_hold_the_same_pixels(syntax):
    original, volume = load_volume(CORNERSTONE / "CTImage.dcm"), load_volume(transferred(syntax))
    np.testing.assert_array_equal(volume.array, original.array)
    np.testing.assert_array_equal(volume.affine_ras, original.affine_ras)


@pytest.mark.parametrize("syntax", LOSSY)
def test_lossy_transfer_syntaxes_hold_nearly_the_same_pixels(syntax, capfd):
    original, volume = load_volume(CORNERSTONE / "CTImage.dcm"), load_volume(transferred(syntax))
    body = original.array > -1200
    assert abs(volume.array - original.array)[body].mean() < LOSSY[syntax]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("notavolume/001", "4 slices with different pixels at one position"),
        ("slicecount/001", "Modality MR, expected CT"),
        ("sliceorientation/001", "Modality MR, expected CT"),
    ],
)
def test_series_that_fail_elsewhere_are_refused_with_their_reason(folder, said):
    (refusal,) = discover(FAILING / folder)
    assert isinstance(refusal, Refusal)
    assert said in refusal.reason


@pytest.mark.parametrize(
    ("folder", "shape", "notes"),
    [
        ("gantrytilting/001", (512, 521, 4), ["gantry tilt of 14.0°"]),
        ("sliceincrement/001", (512, 512, 5), ["1 missing slice near z = 33.1 mm"]),
        ("sliceincrement/002", (512, 514, 5), ["gantry tilt of 15.5°", "1 missing slice near z = -50.4 mm"]),
    ],
)
def test_series_that_fail_elsewhere_come_onto_an_upright_regular_grid(folder, shape, notes):
    (case,) = discover(FAILING / folder)
    assert isinstance(case, Case)
    volume = load_volume(case)
    assert volume.array.shape == shape
    axes = volume.affine_ras[:3, :3] / volume.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert [note for said, note in zip(notes, volume.notes, strict=True) if said not in note] == []


def test_a_gap_of_two_hundred_millimetres_is_seen():
    (refusal,) = discover(DATA / "dicom" / "monai_CT_DICOM")
    assert "step of 202.5 mm where 1.25 mm is usual" in refusal.reason


def test_a_ct_without_modality_is_taken():
    (case,) = discover(DATA / "dicom" / "lungmask")
    assert isinstance(case, Case)
    assert load_volume(case).array.shape == (512, 512, 2)


@pytest.mark.parametrize("name", ["23x38x3", "24x38x3"])
def test_a_legacy_converted_multi_frame_file_equals_its_slices(name):
    folder = DATA / "dicom" / "dcmqi" / "data" / "segmentations" / name
    slices, frames = load_volume(folder / "image"), load_volume(folder / "multiframe" / "mf.dcm")
    np.testing.assert_array_equal(slices.array, frames.array)
    np.testing.assert_allclose(slices.affine_ras, frames.affine_ras, atol=1e-6)


def test_a_mask_in_nrrd_lies_on_its_dicom_series():
    folder = DATA / "dicom" / "dcmqi" / "data" / "segmentations"
    series, mask = load_volume(folder / "ct-3slice"), load_mask(folder / "liver_seg.nrrd")
    assert series.array.shape == mask.array.shape
    np.testing.assert_allclose(series.affine_ras, mask.affine_ras, atol=1e-3)


def test_a_dicom_segmentation_is_refused_by_its_modality():
    (refusal,) = discover(DATA / "dicom" / "dcmqi" / "data" / "segmentations" / "liver.dcm")
    assert refusal.reason == "Modality SEG (Segmentation), expected CT"


def test_nifti_in_the_wild_is_read():
    for file in sorted((DATA / "nifti").rglob("*.nii*")):
        assert load_volume(file).array.ndim == 3
    with pytest.raises(InputError, match="at least 64 are needed"):
        load_volume(DATA / "nifti" / "monai" / "tests" / "testing_data" / "anatomical.nii", min_slices=64)


def test_every_chest_x_ray_loads_with_its_lungs():
    folder = DATA / "chest_xray"
    masks = {path.stem: path for path in (folder / "lung_masks").iterdir()}
    images = sorted((folder / "images").iterdir())
    assert len(images) == 75
    for path in images:
        image, mask = load_pair(path, masks[path.stem], modality="DX")
        assert image.array.shape == mask.array.shape
        assert set(np.unique(mask.array)) <= {0, 1, 2}
        assert mask.notes == ()


@pytest.mark.parametrize("number", [10, 12, 107, 115, 116])
def test_a_radiograph_in_jpeg_2000_shows_what_its_jpeg_shows(number):
    file = DATA / "pelvis" / "infant_xray" / f"331_DDH_{number}.dcm"
    dicom, jpeg = (load_volume(path, modality="DX") for path in (file, file.with_suffix(".jpg")))
    difference = abs(dicom.array - jpeg.array)
    assert difference.max() <= 9  # both are lossy
    assert difference.mean() <= 1
    np.testing.assert_array_equal(dicom.affine_ras, jpeg.affine_ras)
    assert (dicom.spacing_known, jpeg.spacing_known) == (True, False)


def test_lesion_and_lung_masks_of_ct_slices_load_without_correction():
    for folder in ("lesion", "lung"):
        for path in sorted((DATA / "covid_ct" / folder).iterdir())[::20]:
            mask = load_mask(path)
            assert set(np.unique(mask.array)) <= {0, 1, 2}
            assert mask.notes == ()
