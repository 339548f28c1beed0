"""The two descriptions of a grid, for NIfTI and for DICOM, are one."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from radseg.sample_data.grid import Grid
from radseg.sample_data.write_nifti import write_nifti


@pytest.mark.parametrize("tilt_degrees", [0.0, 5.0, -12.0])
def test_sform_and_qform_say_the_same(tmp_path: Path, tilt_degrees: float) -> None:
    grid = Grid((6, 5, 4), (1.5, 1.25, 3.0), (12.0, -7.0, 80.0), tilt_degrees)
    write_nifti(tmp_path / "image.nii.gz", np.zeros(grid.shape, dtype=np.int16), grid)
    image = nib.load(tmp_path / "image.nii.gz")
    sform, sform_code = image.get_sform(coded=True)
    qform, qform_code = image.get_qform(coded=True)
    assert (int(sform_code), int(qform_code)) == (1, 1)
    np.testing.assert_allclose(sform, grid.affine_ras, atol=1e-5)
    np.testing.assert_allclose(qform, sform, atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_positions_are_those_of_the_affine() -> None:
    grid = Grid((3, 4, 5), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), tilt_degrees=7.0)
    x, y, z = (np.broadcast_to(axis, grid.shape) for axis in grid.positions_lps())
    expected = grid.affine_lps @ np.array([2.0, 3.0, 4.0, 1.0])
    np.testing.assert_allclose([x[2, 3, 4], y[2, 3, 4], z[2, 3, 4]], expected[:3])


def test_the_middle_of_the_volume_lies_where_it_was_asked_for() -> None:
    grid = Grid((9, 8, 7), (1.5, 1.5, 2.0), (-30.0, 14.0, 250.0), tilt_degrees=5.0)
    middle = grid.affine_lps @ np.array([4.0, 3.5, 3.0, 1.0])
    np.testing.assert_allclose(middle[:3], grid.center_lps, atol=1 / 64)
