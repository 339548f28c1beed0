"""On real CT: masks come back on the grid of their image, from every form it is stored in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.segment import segment

SMALL: dict[str, dict[str, Any]] = {
    "spine": {"network_def#features": [4, 8, 16, 32, 64], "roi_size": [64, 64, 64], "spacing_mm": [3.0, 3.0, 3.0]},
    "lung_ct": {"network_def#features": [4, 8, 16, 32], "image_size": 64},
}


@pytest.fixture
def run(small_weights: dict[str, Path], tmp_path: Path) -> Callable[..., Any]:
    def run(bundle: str, *inputs: Path) -> Any:
        settings = {"weights": str(small_weights[bundle]), "progress": False, **SMALL[bundle]}
        return segment(bundle, list(inputs), tmp_path / "OUT", **settings)

    return run


@pytest.mark.parametrize("bundle", ["spine", "lung_ct"])
@pytest.mark.parametrize("image", ["spine_ct/verse014/ct.nii.gz", "chest_ct/ct.nii.gz"])
def test_a_real_volume_gets_a_mask_on_its_grid(
    bundle: str, image: str, real_data: Path, run: Callable[..., Any]
) -> None:
    batch = run(bundle, real_data / image)
    assert batch.ok
    mask, source = nib.load(batch.output_dir / "ct" / "mask.nii.gz"), nib.load(real_data / image)
    assert mask.shape == source.shape
    assert np.array_equal(mask.affine, source.affine)
    assert nib.aff2axcodes(mask.affine) == nib.aff2axcodes(source.affine)


def test_real_slices_get_a_mask_of_their_size(real_data: Path, run: Callable[..., Any]) -> None:
    slices = [real_data / "covid_ct" / "ct" / f"{number}.png" for number in ("0000", "0700")]
    batch = run("lung_ct", *slices)
    assert batch.done == ["0000", "0700"]
    for file in slices:
        with Image.open(file) as source, Image.open(batch.output_dir / file.stem / "mask.png") as mask:
            assert mask.size == source.size
            assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_real_radiographs_get_a_mask_of_their_size(
    real_data: Path, small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path
) -> None:
    by_mode: dict[str, Path] = {}
    for file in sorted((real_data / "chest_xray" / "images").iterdir()):
        with Image.open(file) as image:
            by_mode.setdefault(image.mode, file)
    assert {"L", "RGB"} <= set(by_mode)
    settings = {"weights": str(small_weights["lung_xray"]), "progress": False, **small["lung_xray"]}
    batch = segment("lung_xray", list(by_mode.values()), tmp_path / "OUT", **settings)
    assert not batch.failed
    for file in by_mode.values():
        with Image.open(file) as source, Image.open(batch.output_dir / file.stem / "mask.png") as mask:
            assert mask.size == source.size


def test_a_real_dx_file_and_its_jpeg_give_nearly_one_mask(
    real_data: Path, small_weights: dict[str, Path], small: dict[str, Any], tmp_path: Path
) -> None:
    # of the six published pairs 331_DDH_1 shows two children; JPEG and JPEG 2000 differ by up to 9 of 255 grey values
    folder = real_data / "pelvis" / "infant_xray"
    settings = {"weights": str(small_weights["pelvis_xray"]), "progress": False, **small["pelvis_xray"]}
    for name in ("331_DDH_10", "331_DDH_107"):
        batch = segment("pelvis_xray", [folder / f"{name}.jpg", folder / f"{name}.dcm"], tmp_path / name, **settings)
        jpeg, dicom = (
            np.asarray(Image.open(batch.output_dir / case / "mask.png")) > 0 for case in sorted(batch.done, key=len)
        )
        assert jpeg.any()
        assert (jpeg != dicom).mean() < 0.03


def test_hard_series_are_segmented_or_refused_by_name(real_data: Path, run: Callable[..., Any]) -> None:
    batch = run("spine", real_data / "dicom" / "dicom2nifti_failing")
    assert batch.done
    assert all("at least 4 are needed" in reason for reason in batch.failed.values())
    warnings = " ".join(note for notes in batch.warnings.values() for note in notes)
    assert "gantry tilt of 14.0°: slices sheared back to an upright grid" in warnings
    assert "1 missing slice near z = 33.1 mm made up from the neighbours" in warnings
    assert "Modality MR" in " ".join(batch.refused.values())
    assert all(reason and "\n" not in reason for reason in batch.refused.values())
