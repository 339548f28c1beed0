"""The sample data's DICOM series and their NIfTI twins."""

from pathlib import Path

import numpy as np
import pytest

from radseg.pipelines.cases import discover
from radseg.pipelines.io import load_volume

SAMPLE_DATA = Path(__file__).parents[3] / "sample_data"
SERIES = sorted(folder for folder in SAMPLE_DATA.glob("*/dicom/*") if folder.is_dir())


@pytest.mark.skipif(not SERIES, reason="the sample data have no DICOM series here")
@pytest.mark.parametrize("folder", SERIES, ids=lambda folder: folder.name)
def test_a_series_and_its_nifti_twin_are_one_image(folder):
    series = load_volume(folder)
    twin = load_volume(folder.parents[1] / "imagesTr" / f"{folder.name}.nii.gz")
    np.testing.assert_array_equal(series.array, twin.array)
    np.testing.assert_allclose(series.affine_ras, twin.affine_ras, atol=1e-3)
    assert series.units == twin.units == "HU"


@pytest.mark.skipif(not SERIES, reason="the sample data have no DICOM series here")
def test_a_folder_of_series_gives_each_of_them():
    folder = SERIES[0].parent
    found = list(discover(folder))
    assert sorted(case.source.name for case in found) == sorted(one.name for one in folder.iterdir() if one.is_dir())
