"""Which side of the image cuts a region off."""

import numpy as np

from radseg.pipelines.io import Volume
from radseg.pipelines.measure.field_of_view import cut_at, cut_off


def test_the_sides_are_the_patient_s() -> None:
    region = np.zeros((10, 10, 10), np.uint8)
    region[3:7, 3:10, 0:6] = 1
    assert cut_at(region, Volume(region, np.eye(4), "label")) == ["front", "bottom"]
    turned = Volume(region, np.diag([-1.0, -1, -1, 1]), "label")
    assert cut_at(region, turned) == ["back", "top"]


def test_a_tip_at_the_edge_is_not_cut_off() -> None:
    region = np.zeros((30, 30, 10), np.uint8)
    region[:, :, 4] = region[5, 5, :] = 1
    assert cut_at(region[1:-1], Volume(region[1:-1], np.eye(4), "label")) == ["left", "right", "back", "front"]
    region[0] = region[-1] = region[:, 0] = region[:, -1] = 0
    assert cut_at(region, Volume(region, np.eye(4), "label")) == []


def test_edges_of_a_picture_are_said_as_such() -> None:
    region = np.zeros((10, 10, 1), np.uint8)
    region[4:, :3] = 1
    picture = Volume(region, np.eye(4), "label", is_picture=True)
    assert cut_at(region, picture) == ["right edge", "top edge"]
    assert cut_off("pelvis", cut_at(region, picture)).endswith("off at the right edge and the top edge")


def test_an_empty_region_is_nowhere_cut() -> None:
    empty = np.zeros((4, 4, 4), np.uint8)
    assert cut_at(empty, Volume(empty, np.eye(4), "label")) == []
