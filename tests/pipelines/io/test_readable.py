"""What a header tells of a file: damage is seen in milliseconds, and sound files of every kind pass."""

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.io.readable import header_trouble

SAMPLES = Path(__file__).parents[3] / "sample_data"
SOUND = (
    SAMPLES / "spine" / "imagesTr" / "spine01.nii.gz",
    SAMPLES / "spine" / "labelsTr" / "spine01.nii.gz",
    SAMPLES / "lung_xray" / "imagesTr" / "chest01_pa.png",
    SAMPLES / "spine" / "dicom" / "spine04",
)


@pytest.mark.parametrize("file", SOUND, ids=lambda file: file.name)
def test_a_sound_image_has_no_trouble(file: Path) -> None:
    assert file.exists()
    assert header_trouble(file) is None


def nifti(file: Path) -> Path:
    image = nib.Nifti1Image(np.random.default_rng(0).integers(0, 999, (30, 30, 30)).astype(np.int16), np.eye(4))
    nib.save(image, file)
    return file


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_a_volume_that_was_cut_off_is_told_by_its_length(name: str, tmp_path: Path) -> None:
    file = nifti(tmp_path / name)
    assert header_trouble(file) is None
    file.write_bytes(file.read_bytes()[:-2000])
    trouble = header_trouble(file)
    assert trouble is not None
    assert trouble.startswith(f"{file}: ")
    assert "cut" in trouble


def test_a_volume_that_lost_less_than_its_header_holds_is_told_too(tmp_path: Path) -> None:
    file = nifti(tmp_path / "ct.nii")
    file.write_bytes(file.read_bytes()[:-300])
    assert "expected 54352 bytes, got 54052" in str(header_trouble(file))


def test_a_volume_gzipped_in_several_parts_is_sound(tmp_path: Path) -> None:
    content = nifti(tmp_path / "ct.nii").read_bytes()
    file = tmp_path / "parts.nii.gz"
    file.write_bytes(gzip.compress(content[:20_000]) + gzip.compress(content[20_000:]))
    assert header_trouble(file) is None


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii", "xray.png", "xray.jpg", "xray.dcm", "ct.mha", "ct.nrrd"])
@pytest.mark.parametrize("content", [b"", b"<html>404 not found</html>" * 20], ids=["empty", "web page"])
def test_a_file_that_is_none_of_its_kind_is_told(name: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    trouble = header_trouble(file)
    assert trouble is not None
    assert trouble.startswith(f"{file}: ")
    assert ";" in trouble  # what is wrong, and the remedy


def test_a_picture_that_was_cut_off_is_told(tmp_path: Path) -> None:
    file = tmp_path / "xray.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60)).astype(np.uint8)).save(file)
    assert header_trouble(file) is None
    file.write_bytes(file.read_bytes()[:-300])
    assert str(header_trouble(file)).startswith(f"{file}: not readable as PNG or JPEG")


def test_a_cut_off_dicom_file_is_told(tmp_path: Path) -> None:
    whole = next(path for path in sorted((SAMPLES / "spine" / "dicom" / "spine04").rglob("*")) if path.is_file())
    file = tmp_path / "slice.dcm"
    shutil.copy(whole, file)
    assert header_trouble(file) is None
    file.write_bytes(whole.read_bytes()[:200])
    assert str(header_trouble(file)).startswith(f"{file}: ")
