"""A mask's file lies on its image, whatever the form."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monailabel")

from radseg.pipelines.io import Volume, load_mask, write_mask
from radseg.pipelines.io.load import as_case
from radseg.pipelines.label_server.refused import Refused
from radseg.pipelines.label_server.tasks.mask_file import extension_of, write

AFFINE = np.array([[-0.7, 0.1, 0, 5], [0.1, 0.7, 0, -9], [0, 0, 2.5, 3], [0, 0, 0, 1.0]])
MASK = np.random.default_rng(0).integers(0, 3, (5, 4, 3)).astype(np.uint8)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", [None, "uint8", "uint16"])
@pytest.mark.parametrize("extension", [".nii.gz", ".nii", ".nrrd"])
def test_an_oblique_volumes_mask_lies_on_it(tmp_path: Path, extension: str, dtype: str | None, compress: bool) -> None:
    write_mask(tmp_path / "ct.nii.gz", MASK, AFFINE)
    case = as_case(tmp_path / "ct.nii.gz")
    volume = Volume(MASK.astype(np.float32), AFFINE, "HU")
    write(tmp_path / f"mask{extension}", case, volume, MASK, dtype, compress)
    found = load_mask(tmp_path / f"mask{extension}")
    np.testing.assert_array_equal(found.array, MASK)
    np.testing.assert_allclose(found.affine_ras, AFFINE, atol=1e-5)


def test_the_form_is_that_of_segment_unless_another_is_wanted() -> None:
    volume = Volume(MASK.astype(np.float32), AFFINE, "HU")
    picture = Volume(MASK[..., :1].astype(np.float32), AFFINE, "grey", is_picture=True)
    assert [extension_of(volume), extension_of(picture), extension_of(volume, "nrrd")] == [".nii.gz", ".png", ".nrrd"]
    with pytest.raises(Refused, match=r"use one of \.nii\.gz, \.nii, \.nrrd$"):
        extension_of(volume, ".png")
