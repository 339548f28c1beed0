"""Left and right lung from a mask, and no number where they can't be told apart."""

import numpy as np
import pytest

from radseg.pipelines.io import Volume
from radseg.pipelines.io.volume import LPS_TO_RAS
from radseg.pipelines.measure import LungFields

DISPLAYED = LPS_TO_RAS  # columns run to the patient's left
MIRRORED = LPS_TO_RAS @ np.diag([-1.0, 1, 1, 1])


def measured(mask: np.ndarray, affine: np.ndarray = DISPLAYED) -> dict:
    return LungFields(["lung"])(mask, Volume(np.zeros(mask.shape, np.float32), affine, "grey"), "case")


def two_lungs() -> np.ndarray:
    mask = np.zeros((40, 30, 1), np.uint8)  # (column, row, 1)
    mask[4:16, 5:25] = 1  # at the image's left: the patient's right, 240 pixels
    mask[24:32, 5:25] = 1  # 160 pixels
    return mask


def test_the_lung_at_the_image_s_left_is_the_patient_s_right() -> None:
    lungs = measured(two_lungs())["lungs"]
    assert lungs["right"]["share_of_lungs"] == pytest.approx(0.6)
    assert lungs["left"]["share_of_lungs"] == pytest.approx(0.4)


def test_a_mirrored_radiograph_is_told_by_its_affine() -> None:
    assert measured(two_lungs(), MIRRORED)["lungs"]["right"]["share_of_lungs"] == pytest.approx(0.4)


def test_a_speck_belongs_to_the_nearer_lung() -> None:
    mask = two_lungs()
    mask[36:40, 10:20] = 1  # 40 pixels beside the left lung
    assert measured(mask)["lungs"]["left"]["share_of_lungs"] == pytest.approx(200 / 440, abs=1e-4)


@pytest.mark.parametrize("what", ["one lung", "lungs that touch", "nothing", "a lung and a speck"])
def test_what_is_not_two_lungs_gets_a_warning_and_no_share(what: str) -> None:
    mask = two_lungs()
    if what == "one lung":
        mask[20:] = 0
    elif what == "lungs that touch":
        mask[14:26, 10:12] = 1
    elif what == "nothing":
        mask[:] = 0
    else:
        mask[20:] = 0
        mask[30:33, 5:8] = 1
    statistics = measured(mask)
    assert "lungs" not in statistics
    assert "can't be told apart" in statistics["warnings"][0]
    assert statistics["labels"]["lung"]["voxels"] == int(mask.sum())
