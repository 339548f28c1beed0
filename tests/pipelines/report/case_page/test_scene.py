"""What is packed into a page is the image and its mask, at their place."""

import base64
import gzip
from typing import Any

import nibabel as nib
import numpy as np
import page_factory as factory
import pytest

from radseg.pipelines.io import Volume
from radseg.pipelines.report.case_page import scene
from radseg.pipelines.report.case_page.scene import Scene, scene_of

LABELS = ["left ball", "right ball"]
WINDOW = (-200.0, 1000.0)


def unpacked(made: Scene, name: str) -> Any:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(made.packed[name])))


def centre_mm(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.argwhere(voxels).mean(axis=0) + affine[:3, 3]


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PIR", "SLA"])
def test_a_volume_is_packed_in_one_order_and_lies_where_it_did(axcodes: str) -> None:
    volume, mask = factory.balls(axcodes)
    made = scene_of(volume, mask, None, LABELS, WINDOW)
    image, labels = unpacked(made, "image"), unpacked(made, "mask")
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.get_data_dtype() == np.int16
    assert image.shape == factory.SHAPE
    assert np.array_equal(np.unique(np.asarray(image.dataobj)[np.asarray(labels.dataobj) > 0]), [900])
    for label in (1, 2):
        found = centre_mm(np.asarray(labels.dataobj) == label, labels.affine)
        assert found == pytest.approx(centre_mm(mask == label, volume.affine_ras), abs=1e-3)


def test_it_opens_where_there_is_most_to_see() -> None:
    volume, mask = factory.balls()
    made = scene_of(volume, mask, None, LABELS, WINDOW)
    x, y, z = made.said["start"]
    assert mask[x].any()
    assert mask[:, y].any()
    assert mask[:, :, z].any()
    empty = scene_of(volume, np.zeros_like(mask), None, LABELS, WINDOW)
    assert empty.said["start"] == [20, 25, 15]


def test_uncertainty_becomes_a_layer_from_0_to_1() -> None:
    volume, mask = factory.balls()
    doubt = np.where(mask > 0, 51, 0).astype(np.uint8)
    made = scene_of(volume, mask, doubt, LABELS, WINDOW)
    assert made.said["uncertainty"]
    assert np.unique(unpacked(made, "uncertainty").get_fdata()) == pytest.approx([0, 0.2])


def test_a_volume_beyond_what_a_page_holds_is_reduced_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "MOST_VOXELS", 10_000)
    volume, mask = factory.balls("LPS")
    mask[3, 4, 5] = 1
    made = scene_of(volume, mask, None, LABELS, WINDOW)
    image, labels = unpacked(made, "image"), unpacked(made, "mask")
    assert image.shape == labels.shape
    assert np.prod(image.shape) <= 10_000
    assert "Reduced for this page" in made.note
    assert "40×50×30" in made.note
    spot = volume.affine_ras[:3, :3] @ [3, 4, 5] + volume.affine_ras[:3, 3]
    voxel = np.rint(np.linalg.inv(labels.affine) @ [*spot, 1])[:3].astype(int)
    assert labels.dataobj[tuple(voxel)] == 1


def test_noise_that_cannot_be_packed_is_reduced_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "MOST_CHARACTERS", 40_000)
    noise = np.random.default_rng(0).normal(0, 300, (40, 40, 40)).astype(np.float32)
    made = scene_of(Volume(noise, np.eye(4), "HU"), np.zeros(noise.shape, np.uint8), None, LABELS, WINDOW)
    assert len(made.packed["image"]) <= 40_000
    assert made.note


def test_a_picture_keeps_its_greys_to_a_sixteenth() -> None:
    volume, mask = factory.radiograph()
    made = scene_of(volume, mask, None, ["lung"], WINDOW)
    image = unpacked(made, "image")
    assert made.said["flat"] == "Axial"
    assert image.shape == (90, 120, 1)
    assert np.unique(image.get_fdata()) == pytest.approx([60.25, 230.5])
    as_seen = np.asarray(unpacked(made, "mask").dataobj)[::-1, ::-1, 0]
    assert np.array_equal(as_seen, mask[..., 0])


def test_a_single_slice_of_a_volume_is_shown_in_its_plane() -> None:
    volume, mask = factory.balls()
    thin = Volume(volume.array[:, 33:34], volume.affine_ras, "HU")
    assert scene_of(thin, mask[:, 33:34], None, LABELS, WINDOW).said["flat"] == "Coronal"
