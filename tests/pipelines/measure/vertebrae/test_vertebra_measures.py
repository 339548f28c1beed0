"""What statistics.json says of vertebrae: numbers with units and methods, warnings where there is no number."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_spine import cylinders

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io import Volume
from radseg.pipelines.measure.vertebrae import VertebraMeasures
from radseg.transforms.vertebrae import FractureVertebra

LABELS = ["vertebra", "fractured vertebra"]


def measured(
    mask: np.ndarray, affine: np.ndarray, image: np.ndarray | None = None, labels: list[str] = LABELS, **options: Any
) -> dict[str, Any]:
    volume = Volume(
        np.zeros(mask.shape, np.float32) if image is None else image, affine, "label" if image is None else "HU"
    )
    statistics = VertebraMeasures(labels, **options)(mask, volume, "case")
    json.dumps(statistics, allow_nan=False)
    return statistics


def value(statistics: dict[str, Any], name: str, of: str = "") -> Any:
    (row,) = (row for row in statistics["measurements"] if row["name"] == name and row.get("of", "") == of)
    return row["value"]


@pytest.fixture(scope="module")
def broken() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Five vertebrae, of which the third has a wedge fracture of 47 %: CT, labels 1 and 2, affine."""
    # far enough from the image's edge that the simulation leaves the other vertebrae as they are
    spine = cylinders(margin_mm=60.0)
    image, labels = FractureVertebra(103, "wedge", 0.47)(*spine.tensors)
    mask = np.where(labels[0] == 103, 2, np.where(labels[0] > 0, 1, 0)).astype(np.uint8)
    return image[0].numpy(), mask, spine.affine


def test_a_fracture_has_its_vertebra_form_grade_and_heights(broken: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, mask, affine = broken
    statistics = measured(mask, affine, image)
    assert statistics["warnings"] == []
    assert statistics["labels"]["fractured vertebra"]["label"] == 2
    assert value(statistics, "vertebrae") == 5
    for place in range(1, 6):
        name = f"vertebra {place}"
        assert value(statistics, "Genant grade", name) == (3 if place == 3 else 0)
        assert value(statistics, "Genant type", name) == ("wedge" if place == 3 else "none")
        assert value(statistics, "marked fractured", name) == (100 if place == 3 else 0)
        assert value(statistics, "posterior height", name) == pytest.approx(26, abs=1.5)
    assert value(statistics, "anterior height", "vertebra 3") == pytest.approx(0.53 * 26, abs=1.5)
    assert value(statistics, "core density", "vertebra 1") == pytest.approx(180, abs=5)
    # squeezed bone is denser
    assert value(statistics, "core density", "vertebra 3") > 200


def test_each_number_has_a_unit_a_method_and_how_sure_it_is(broken: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, mask, affine = broken
    rows = measured(mask, affine, image)["measurements"]
    assert all(row["unit"] and row["method"] for row in rows)
    assert all(row["uncertainty"] == pytest.approx(1.2, abs=0.05) for row in rows if row["unit"] == "mm")
    (loss,) = (row for row in rows if row["name"] == "height loss to own" and row["of"] == "vertebra 1")
    assert loss["uncertainty"] == pytest.approx(100 * 1.2 / 26 * 2**0.5, abs=0.5)  # of two heights
    (grade,) = (row for row in rows if row["name"] == "Genant grade" and row["of"] == "vertebra 3")
    assert "expected from vertebra 1, vertebra 2, vertebra 4, vertebra 5" in grade["method"]


def test_level_names_are_the_user_s(broken: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, mask, affine = broken
    named = measured(mask, affine, top_level="T11")
    assert value(named, "Genant grade", "L1") == 3
    upwards = measured(mask, affine, from_bottom=True)
    assert value(upwards, "Genant grade", "vertebra 3") == 3
    assert value(upwards, "posterior height", "vertebra 1") == value(named, "posterior height", "L3")
    with pytest.raises(ConfigError, match="no such level"):
        VertebraMeasures(LABELS, top_level="T0")


@pytest.mark.parametrize(("hu", "like"), [(-850.0, "air or fat"), (2000.0, "cement or metal")])
def test_a_mask_that_does_not_lie_on_bone_is_warned_of_at_every_number(hu: float, like: str) -> None:
    spine = cylinders()
    image = np.full(spine.labels.shape, hu, np.float32)
    statistics = measured((spine.labels > 0).astype(np.uint8), spine.affine, image)
    said = f"implausible mask: the core is {like}, not bone (mean {hu:.0f} HU)"
    assert statistics["warnings"] == [
        f"vertebra {place}: {said}; its heights and grade may be wrong" for place in range(1, 6)
    ]
    assert value(statistics, "core density", "vertebra 1") is None
    assert value(statistics, "anterior height", "vertebra 1") is not None
    rows = [row for row in statistics["measurements"] if row["name"] != "vertebrae"]
    assert all(row["warning"] == said for row in rows)


def test_without_a_ct_there_is_no_density(broken: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, mask, affine = broken
    assert not any(row["name"] == "core density" for row in measured(mask, affine)["measurements"])


def test_an_empty_mask_has_no_vertebrae_and_no_nan() -> None:
    statistics = measured(np.zeros((20, 20, 20), np.uint8), np.eye(4), np.zeros((20, 20, 20), np.float32))
    assert statistics["measurements"] == [
        {"name": "vertebrae", "value": 0, "unit": "1", "method": "counted along the spine's curve"}
    ]
    assert statistics["warnings"] == ["the mask is empty: there are no vertebrae to measure"]


def test_what_the_edge_cuts_is_said_and_not_measured() -> None:
    spine = cylinders()
    affine = spine.affine.copy()
    affine[2, 3] = 18.0
    statistics = measured((spine.labels[:, :, 12:] > 0).astype(np.uint8), affine)
    warning = "the edge of the field of view cuts its body off"
    assert statistics["warnings"] == [f"vertebra 5 isn't measured: {warning}"]
    (row,) = (
        row for row in statistics["measurements"] if row.get("of") == "vertebra 5" and row["name"] == "middle height"
    )
    assert row["value"] is None
    assert row["warning"] == warning


def test_thick_slices_state_how_uncertain_heights_are() -> None:
    spine = cylinders(spacing=1.0)
    mask = (spine.labels[:, :, 2::5] > 0).astype(np.uint8)
    statistics = measured(mask, spine.affine @ np.diag([1, 1, 5.0, 1]))
    assert statistics["warnings"][0].startswith("slices are 5.0 mm apart: heights are uncertain by up to ±4.0 mm")


def test_a_numbered_mask_is_measured_as_it_is_numbered() -> None:
    spine = cylinders()
    statistics = measured(spine.labels, spine.affine, labels=["vertebra"], numbered=True)
    assert value(statistics, "mask value", "vertebra 1") == 105
    assert value(statistics, "mask value", "vertebra 5") == 101
    assert value(statistics, "Genant grade", "vertebra 3") == 0


def numbered_downwards(first: int) -> tuple[np.ndarray, np.ndarray]:
    """Cylinders with the values `first`, `first` + 1, … from the highest to the lowest."""
    spine = cylinders()
    return np.where(spine.labels > 0, first + 105 - spine.labels.astype(int), 0).astype(np.uint8), spine.affine


def test_c1_of_a_numbered_mask_shifts_no_names_and_has_no_heights() -> None:
    statistics = measured(*numbered_downwards(1), labels=["vertebra"], numbered=True, top_level="C1")
    assert [value(statistics, "mask value", f"C{number}") for number in range(1, 6)] == [1, 2, 3, 4, 5]
    assert value(statistics, "anterior height", "C1") is None
    assert value(statistics, "anterior height", "C2") is not None
    assert statistics["warnings"] == ["C1 isn't measured: C1 has no body"]
    doubted = measured(*numbered_downwards(1), labels=["vertebra"], numbered=True, top_level="C2")
    assert "value 1 is C1 in VerSe's numbering" in doubted["warnings"][0]


def test_a_sacrum_is_no_vertebra() -> None:
    mask, affine = numbered_downwards(22)
    mask[mask == 25] = 0  # VerSe's L6
    statistics = measured(mask, affine, labels=["vertebra"], numbered=True, top_level="L3")
    assert value(statistics, "vertebrae") == 3
    assert {row["of"] for row in statistics["measurements"] if "of" in row} == {"L3", "L4", "L5"}
    assert statistics["warnings"] == ["26 below 24 is the sacrum in VerSe's numbering and isn't counted"]


def test_names_beyond_the_last_lumbar_vertebra_are_warned_of(broken: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, mask, affine = broken
    assert "5 vertebrae are more than there are from L2 to L5" in measured(mask, affine, top_level="L2")["warnings"][0]


def test_a_mask_of_fractures_alone_is_compared_with_nothing_else(
    broken: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    _, mask, affine = broken
    statistics = measured((mask == 2).astype(np.uint8), affine, labels=["fractured vertebra"])
    assert value(statistics, "vertebrae") == 1
    assert value(statistics, "Genant type", "vertebra 1") == "wedge"
    assert "no intact neighbours" in statistics["warnings"][0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.001, 0.6), st.sampled_from([0.8, 2.0]), st.booleans())
def test_any_mask_gives_numbers_or_warnings(seed: int, share: float, spacing: float, blobs: bool) -> None:
    random = np.random.default_rng(seed)
    coarse = random.random((4, 4, 4)) < share
    mask = np.kron(coarse, np.ones((7, 7, 7))) if blobs else np.pad(random.random((14, 14, 14)) < share, 3)
    mask = (mask * random.integers(1, 3, mask.shape)).astype(np.uint8)
    image = random.normal(100, 50, mask.shape).astype(np.float32)
    statistics = measured(mask, np.diag([spacing, -spacing, 2 * spacing, 1.0]), image)
    for row in statistics["measurements"]:
        assert row["value"] is not None or row["warning"]
