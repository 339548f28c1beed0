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


def rows_of(mask: np.ndarray, **known: object) -> dict[tuple[str, str], dict]:
    volume = Volume(np.zeros(mask.shape, np.float32), DISPLAYED, "grey", is_picture=True, **known)
    statistics = LungFields(["lung"])(mask, volume, "case")
    return {(row["name"], row["of"]): row for row in statistics["measurements"]}


def test_areas_are_in_square_centimetres() -> None:
    rows = rows_of(two_lungs())  # pixels of 1 mm
    assert rows["area", "right lung"]["value"] == pytest.approx(2.4)
    assert rows["area", "left lung"]["value"] == pytest.approx(1.6)
    assert rows["area", "both lungs"] | {"method": ""} == {
        "name": "area", "value": 4.0, "unit": "cm2", "of": "both lungs", "method": ""
    }  # fmt: skip
    assert rows["left to right area", "both lungs"]["value"] == pytest.approx(2 / 3, abs=1e-4)


def test_without_a_pixel_size_there_are_shares_of_the_image() -> None:
    rows = rows_of(two_lungs(), spacing_known=False)
    assert rows["share of the image", "right lung"]["value"] == pytest.approx(100 * 240 / 1200)
    assert ("area", "right lung") not in rows


def test_a_field_that_is_cut_off_has_no_area_and_no_part_in_a_ratio() -> None:
    mask = two_lungs()[5:]  # the right lung reaches the left edge
    rows = rows_of(mask)
    for key in (("area", "right lung"), ("area", "both lungs"), ("left to right area", "both lungs")):
        assert rows[key]["value"] is None
        assert "cuts the right lung off at the left edge" in rows[key]["warning"]
    assert rows["area", "left lung"]["value"] == pytest.approx(1.6)
    assert rows["cardiothoracic ratio", "heart"]["value"] is None


def test_two_labels_are_two_fields_even_where_they_touch() -> None:
    mask = two_lungs()
    mask[24:32] *= 2
    mask[16:24, 10:12] = 1
    assert measured(mask)["lungs"]["left"]["share_of_lungs"] == pytest.approx(160 / 416, abs=1e-4)


def test_fields_that_cant_be_lungs_are_flagged() -> None:
    tiny = np.zeros((200, 200, 1), np.uint8)
    tiny[50:60, 50:60] = tiny[120:130, 50:52] = 1
    warnings = measured(tiny)["warnings"]
    assert "implausible lung fields" in warnings[0]
    assert "left lung field is much smaller" in warnings[1]


def test_an_empty_mask_has_numbers_that_say_none() -> None:
    rows = rows_of(np.zeros((40, 30, 1), np.uint8))
    assert rows["area", "both lungs"]["value"] == 0
    assert rows["left to right area", "both lungs"]["value"] is None
    assert "empty" in rows["cardiothoracic ratio", "heart"]["warning"]
