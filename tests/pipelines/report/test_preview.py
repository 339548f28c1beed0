"""The preview shows the labelled planes, the right way up."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.io import Volume
from radseg.pipelines.report import save_preview
from radseg.pipelines.report.preview import _to_ras, _view
from radseg.transforms.slabs import count_planes

LABELS = ["vertebra"]
STATISTICS = {"labels": {"vertebra": {"volume_ml": 1.0}}}


def _marked() -> tuple[np.ndarray, np.ndarray]:
    """A grid in order L, P, S whose one bright voxel lies right, anterior and superior of the middle."""
    array = np.zeros((8, 10, 12), np.float32)
    array[1, 2, 10] = 1
    return array, np.diag([-1.0, -2.0, 3.0, 1.0])


@pytest.mark.parametrize(
    ("plane", "row", "column"), [("axial", "top", "left"), ("coronal", "top", "left"), ("sagittal", "top", "left")]
)
def test_planes_are_shown_as_radiologists_look_at_them(plane: str, row: str, column: str) -> None:
    array, affine = _marked()
    image, spacing = _to_ras(array, affine)
    mask = image.astype(np.uint8)
    view = _view(plane, image, mask, spacing, count_planes(mask))
    y, x = np.argwhere(view.image == 1)[0]
    assert (y < view.image.shape[0] / 2) == (row == "top")
    assert (x < view.image.shape[1] / 2) == (column == "left")


def test_planes_keep_true_proportions() -> None:
    array, affine = _marked()
    image, spacing = _to_ras(array, affine)
    mask = image.astype(np.uint8)
    view = _view("sagittal", image, mask, spacing, count_planes(mask))
    assert (view.width_mm, view.height_mm) == (10 * 2.0, 12 * 3.0)


@pytest.mark.parametrize("filled", [True, False], ids=["labelled", "empty"])
def test_a_preview_has_the_color_of_its_label(tmp_path: Path, filled: bool) -> None:
    array = np.random.default_rng(0).normal(0, 300, (40, 40, 40)).astype(np.float32)
    mask = np.zeros(array.shape, np.uint8)
    mask[10:20, 10:20, 10:20] = filled
    volume = Volume(array, np.eye(4), "HU")
    save_preview(tmp_path / "preview.png", volume, mask, LABELS, STATISTICS, "case")
    with Image.open(tmp_path / "preview.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    planes = pixels[: int(pixels.shape[0] * 0.85)]  # without the legend
    blue = (abs(planes - [0x56, 0xB4, 0xE9]).max(axis=-1) < 30).sum()
    assert (blue > 50) == filled


def test_a_single_slice_is_one_plane(tmp_path: Path) -> None:
    volume = Volume(
        np.random.default_rng(0).uniform(0, 255, (30, 40, 1)).astype(np.float32), np.diag([-1.0, -1, 1, 1]), "grey"
    )
    statistics = {"labels": {"vertebra": {"share_of_image": 0.5}}}
    save_preview(tmp_path / "preview.png", volume, np.ones((30, 40, 1), np.uint8), LABELS, statistics, "slice")
    with Image.open(tmp_path / "preview.png") as picture:
        width, height = picture.size
    assert width < height


def test_a_thin_volume_gets_a_picture_of_bearable_width(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(0, 300, (200, 200, 3)).astype(np.float32)
    save_preview(
        tmp_path / "preview.png",
        Volume(array, np.eye(4), "HU"),
        np.ones(array.shape, np.uint8),
        LABELS,
        STATISTICS,
        "thin",
    )
    with Image.open(tmp_path / "preview.png") as picture:
        assert max(picture.size) < 3000


@pytest.mark.parametrize("name", ["a$_$b", "<b>case</b>", r"\frac", "cas é"])
def test_any_file_name_can_be_a_title(tmp_path: Path, name: str) -> None:
    volume = Volume(np.random.default_rng(0).normal(0, 300, (9, 9, 9)).astype(np.float32), np.eye(4), "HU")
    save_preview(
        tmp_path / "preview.png",
        volume,
        np.ones((9, 9, 9), np.uint8),
        [name],
        {"labels": {name: {"volume_ml": 1.0}}},
        name,
    )
    assert (tmp_path / "preview.png").stat().st_size > 1000
