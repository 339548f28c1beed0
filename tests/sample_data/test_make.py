"""The committed sample data are what `make` makes, whoever makes them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radseg.sample_data.make import CASE_NAMES, main, make

KINDS = ("spine", "lung_ct", "lung_xray", "pelvis_xray")
CT_CASES = [name for name in CASE_NAMES if name.startswith(("spine", "lung"))]
XRAY_CASES = ("chest06", "pelvis01", "pelvis10")  # some seconds each; all of them are made again in a long test


@pytest.fixture(scope="module")
def made_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample_data")
    make(folder, [*CT_CASES, *XRAY_CASES])
    for kind in KINDS[2:]:
        (folder / kind / "datalist.json").unlink()  # names these cases only
    return folder


def files(root: Path, cases: Collection[str] = CASE_NAMES) -> dict[str, Path]:
    """All files of the sample data but those of other cases."""
    others = set(CASE_NAMES) - set(cases)
    found = {path.relative_to(root).as_posix(): path for kind in KINDS for path in (root / kind).rglob("*.*")}
    return {name: path for name, path in found.items() if not any(other in name for other in others)}


def test_the_same_files_are_made_again(sample_data: Path, made_again: Path) -> None:
    kept = [name for name in files(sample_data, [*CT_CASES, *XRAY_CASES]) if "xray/datalist" not in name]
    assert sorted(files(made_again)) == sorted(kept)


@pytest.mark.long
def test_every_radiograph_is_made_again_pixel_by_pixel(sample_data: Path, tmp_path: Path) -> None:
    make(tmp_path, [name for name in CASE_NAMES if name not in CT_CASES])
    again = files(tmp_path)
    assert sorted(again) == sorted(name for name in files(sample_data) if name.startswith(KINDS[2:]))
    for name, path in again.items():
        if name.endswith(".png"):
            with Image.open(sample_data / name) as old, Image.open(path) as new:
                assert np.array_equal(np.asarray(old), np.asarray(new)), name
        else:
            assert path.read_bytes() == (sample_data / name).read_bytes(), name


def test_nifti_headers_and_voxels_are_the_same_when_made_again(sample_data: Path, made_again: Path) -> None:
    names = [name for name in files(made_again) if name.endswith(".nii.gz")]
    assert len(names) == 6 * 2 + 6 * 3
    for name in names:
        old, new = nib.load(sample_data / name), nib.load(made_again / name)
        for field in new.header:
            before, after = old.header[field], new.header[field]
            if np.issubdtype(after.dtype, np.floating):
                np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-7, err_msg=f"{name}: {field}")
            else:
                assert np.array_equal(after, before), f"{name}: {field}"
        assert np.array_equal(np.asanyarray(new.dataobj), np.asanyarray(old.dataobj)), name


def test_dicom_files_are_the_same_byte_for_byte(sample_data: Path, made_again: Path) -> None:
    names = [name for name in files(made_again) if name.endswith(".dcm")]
    assert len(names) > 100
    different = [name for name in names if (made_again / name).read_bytes() != (sample_data / name).read_bytes()]
    assert different == []


def test_png_pixels_are_the_same_when_made_again(sample_data: Path, made_again: Path) -> None:
    names = [name for name in files(made_again) if name.endswith(".png")]
    assert len(names) >= 12
    for name in names:
        with Image.open(sample_data / name) as old, Image.open(made_again / name) as new:
            assert new.mode == "L"
            assert np.array_equal(np.asarray(old), np.asarray(new)), name


def test_datalists_are_the_same_when_made_again(sample_data: Path, made_again: Path) -> None:
    for kind in KINDS[:2]:
        assert (made_again / kind / "datalist.json").read_bytes() == (sample_data / kind / "datalist.json").read_bytes()


def test_all_sample_data_together_are_a_few_megabytes(sample_data: Path) -> None:
    assert sum(path.stat().st_size for path in files(sample_data).values()) < 8_000_000


def test_one_case_can_be_made_alone_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", str(tmp_path), "--cases", "spine06"]) == 0
    assert "spine/spine06" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "spine" / "imagesTr").iterdir()] == ["spine06.nii.gz"]
    assert '"training": []' in (tmp_path / "spine" / "datalist.json").read_text()
    assert not (tmp_path / "lung_ct").exists()


def test_the_script_runs_as_a_file_too(sample_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(sample_data / "make.py"), "--output", str(tmp_path), "--cases", "spine04"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "spine" / "dicom" / "spine04" / "IM0001.dcm").is_file()


def test_an_unknown_case_is_refused_with_the_names_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"spine99.*" + CASE_NAMES[0]):
        make(tmp_path, ["spine99"])
    assert list(tmp_path.iterdir()) == []
