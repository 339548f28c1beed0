"""Volumes in ml are voxels times the voxel's size; pictures without spacing get shares."""

import numpy as np
import pytest

from radseg.pipelines.io import Volume
from radseg.pipelines.measure import LabelVolumes


def _volume(affine: np.ndarray, units: str = "HU") -> Volume:
    return Volume(np.zeros((10, 10, 10), np.float32), affine, units)


def test_a_box_of_known_size() -> None:
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[:5, :5, :4] = 1
    mask[9, 9, 9] = 2
    rows = LabelVolumes(["vertebra", "fractured vertebra"])(mask, _volume(np.diag([2.0, -2.0, 5.0, 1.0])), "case")[
        "labels"
    ]
    assert rows["vertebra"] == {"label": 1, "voxels": 100, "volume_ml": 2.0}
    assert rows["fractured vertebra"] == {"label": 2, "voxels": 1, "volume_ml": 0.02}


def test_an_oblique_grid_doesnt_change_the_volume() -> None:
    mask = np.ones((10, 10, 10), np.uint8)
    turn = np.eye(4)
    turn[:3, :3] = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]) @ np.diag([1.0, 2.0, 3.0])
    assert LabelVolumes(["a"])(mask, _volume(turn), "case")["labels"]["a"]["volume_ml"] == pytest.approx(6.0)


def test_an_empty_mask_has_none() -> None:
    rows = LabelVolumes(["a"])(np.zeros((10, 10, 10), np.uint8), _volume(np.eye(4)), "case")["labels"]
    assert rows["a"] == {"label": 1, "voxels": 0, "volume_ml": 0.0}


def test_a_picture_without_spacing_gets_a_share() -> None:
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[0] = 1
    picture = Volume(np.zeros((10, 10, 10), np.float32), np.eye(4), "grey", spacing_known=False)
    row = LabelVolumes(["a"])(mask, picture, "case")["labels"]["a"]
    assert row == {"label": 1, "voxels": 100, "share_of_image": 0.1}


def test_a_radiograph_of_known_spacing_gets_an_area() -> None:
    mask = np.zeros((10, 20, 1), np.uint8)
    mask[:5, :4] = 1
    affine = np.diag([-0.2, -0.5, 1.0, 1.0])
    radiograph = Volume(np.zeros((10, 20, 1), np.float32), affine, "grey", is_picture=True)
    row = LabelVolumes(["lung"])(mask, radiograph, "case")["labels"]["lung"]
    assert row == {"label": 1, "voxels": 20, "area_mm2": 2.0, "share_of_image": 0.1}
