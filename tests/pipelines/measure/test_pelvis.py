"""Area, symmetry and tilt of a pelvis, and no number of half a pelvis."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from radseg.pipelines.errors import InputError
from radseg.pipelines.io import Volume
from radseg.pipelines.io.volume import LPS_TO_RAS
from radseg.pipelines.measure import PelvisSymmetry
from radseg.pipelines.measure.mirror_axis import mirror_axis


def pelvis(wing: float = 1.0) -> np.ndarray:
    """(row, column): two wings, two rings and a sacrum; the wing at the right of the image may be smaller."""
    y, x = np.mgrid[:200, :260].astype(float)
    mask = (abs(x - 130) < 22) & (y > 60) & (y < 130)
    for side, size in ((-1, 1.0), (1, wing)):
        from_middle = side * (x - 130)
        mask |= ((from_middle - 60) / (45 * size)) ** 2 + ((y - 75) / (40 * size)) ** 2 < 1
        ring = ((from_middle - 48) / 34) ** 2 + ((y - 135) / 32) ** 2
        mask |= (ring < 1) & (ring > 0.3)
    return mask


def measured(shown: np.ndarray, affine: np.ndarray = LPS_TO_RAS, **known: Any) -> dict[str, Any]:
    mask = shown.T[:, :, None].astype(np.uint8)
    volume = Volume(np.zeros(mask.shape, np.float32), affine, "grey", is_picture=True, **known)
    statistics = PelvisSymmetry(["pelvis"])(mask, volume, "case")
    rows = {row["name"]: row for row in statistics["measurements"]}
    return {**rows, "warnings": statistics.get("warnings", [])}


def test_a_symmetrical_pelvis_is_symmetrical() -> None:
    rows = measured(pelvis())
    assert rows["symmetry"]["value"] > 0.98
    assert rows["left to right area"]["value"] == pytest.approx(1, abs=0.02)
    assert rows["tilt of the mirror axis"]["value"] == pytest.approx(0, abs=0.3)
    assert rows["warnings"] == []


def test_the_left_half_is_the_patient_s() -> None:
    smaller_left = measured(pelvis(0.85))["left to right area"]["value"]
    assert smaller_left < 0.95
    mirrored = measured(pelvis(0.85), LPS_TO_RAS @ np.diag([-1.0, 1, 1, 1]))["left to right area"]["value"]
    assert mirrored == pytest.approx(1 / smaller_left, rel=0.02)


@pytest.mark.parametrize("degrees", [-12.0, -3.5, 5.0])
def test_a_turned_pelvis_has_that_tilt(degrees: float) -> None:
    # ndimage turns counter-clockwise as seen, which lifts the image's right, the patient's left
    turned = ndimage.rotate(np.pad(pelvis(), 40).astype(np.float32), degrees, reshape=False, order=1) > 0.5
    rows = measured(turned)
    assert rows["tilt of the mirror axis"]["value"] == pytest.approx(-degrees, abs=0.5)
    assert rows["symmetry"]["value"] > 0.96


def test_pixels_that_are_not_square_change_no_angle() -> None:
    turned = ndimage.rotate(np.pad(pelvis(), 40).astype(np.float32), 8, reshape=False, order=1) > 0.5
    halved = measured(turned[::2], LPS_TO_RAS @ np.diag([0.5, 1.0, 1.0, 1.0]))
    assert halved["tilt of the mirror axis"]["value"] == pytest.approx(-8, abs=0.6)
    assert halved["area"]["value"] == pytest.approx(turned[::2].sum() * 0.005)


def test_without_a_pixel_size_there_is_a_share_and_no_area() -> None:
    rows = measured(pelvis(), spacing_known=False)
    assert "area" not in rows
    assert rows["share of the image"]["value"] == pytest.approx(100 * pelvis().mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("what", "said"),
    [("half", "no whole pelvis"), ("cut", "cuts the pelvis off at the right edge"), ("empty", "empty")],
)
def test_what_is_no_whole_pelvis_has_a_warning_and_no_symmetry(what: str, said: str) -> None:
    mask = pelvis()
    if what == "half":
        mask[:, 150:] = False
    mask = mask[:, :185] if what == "cut" else np.zeros_like(mask) if what == "empty" else mask
    rows = measured(mask)
    for name in ("symmetry", "left to right area", "tilt of the mirror axis"):
        assert rows[name]["value"] is None
        assert said in rows[name]["warning"]
    assert said in rows["warnings"][0]
    assert rows["area"]["value"] == (0 if what == "empty" else None if what == "cut" else rows["area"]["value"])


def test_a_volume_is_no_radiograph() -> None:
    volume = Volume(np.zeros((4, 4, 3), np.float32), np.eye(4), "grey")
    with pytest.raises(InputError, match="3 slices"):
        PelvisSymmetry(["pelvis"])(np.ones((4, 4, 3), np.uint8), replace(volume), "case")


def test_the_axis_of_a_single_pixel_is_there() -> None:
    mask = np.zeros((400, 300), bool)
    mask[100, 200] = True
    axis = mirror_axis(mask)
    assert np.isfinite([axis.row, axis.column, axis.overlap]).all()
