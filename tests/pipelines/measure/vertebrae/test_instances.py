"""Vertebrae are told apart from the highest down, also where the mask joins them, however the image lies."""

import numpy as np
import pytest
from numbered_spine import DISC, HEIGHT, NumberedSpine, anatomical, cylinders
from scipy import ndimage

from radseg.pipelines.measure.vertebrae import numbered_vertebrae, split_vertebrae

# what a test asks of a split: bodies are exact, arches may lose a joint to their neighbour
ALIKE = 0.9


def as_mask(labels: np.ndarray) -> np.ndarray:
    return (labels > 0).astype(np.uint8)


def overlap(numbers: np.ndarray, labels: np.ndarray) -> list[float]:
    """Dice of each vertebra with its truth, the highest first; cylinders are numbered upwards, all else downwards."""
    values = sorted({int(value) for value in np.unique(labels)} - {0}, reverse=int(labels.max()) < 108)
    found = []
    for place, value in enumerate(values, start=1):
        one, truth = numbers == 100 + place, labels == value
        found.append(2 * float((one & truth).sum()) / float(one.sum() + truth.sum()))
    return found


@pytest.fixture(params=["cylinders", "anatomical"])
def spine(request: pytest.FixtureRequest) -> NumberedSpine:
    return cylinders() if request.param == "cylinders" else anatomical()


def test_every_vertebra_is_found_and_the_highest_is_the_first(spine: NumberedSpine) -> None:
    # of the anatomical one the edge leaves a scrap of L5 without a body, and of T11 half
    labels = np.where(spine.labels == 124, 0, spine.labels)
    found = split_vertebrae(as_mask(labels), spine.affine)
    assert found.count == len(np.unique(labels)) - 1
    assert found.warnings == ()
    assert min(overlap(found.numbers, labels)[1:]) > ALIKE
    assert ((found.numbers > 0) == (labels > 0)).all()


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_an_array_s_orientation_makes_no_difference(order: tuple[int, int, int]) -> None:
    spine = cylinders()
    turned = np.eye(4)[:, [*order, 3]]
    flip = np.diag([-1.0, 1, 1, 1])
    labels = np.flip(spine.labels.transpose(order), 0)
    flip[0, 3] = labels.shape[0] - 1
    found = split_vertebrae(as_mask(labels), spine.affine @ turned @ flip)
    assert found.count == 5
    assert min(overlap(found.numbers, labels)) > ALIKE


def test_bodies_that_the_mask_joins_are_parted_in_the_disc() -> None:
    spine = cylinders()
    mask = as_mask(spine.labels)
    # a bridge through a quarter of the bodies' outline
    bridge = np.zeros(mask.shape, bool)
    bridge[18:33, 48:56, 10:-10] = True
    x, y = (np.arange(n) + 0.5 for n in mask.shape[:2])
    outline = ((x[:, None] * 1.5 - 38) / 20) ** 2 + ((y[None] * 1.5 - 70) / 15) ** 2 < 1
    mask[bridge & outline[..., None]] = 1
    _, before = ndimage.label(spine.labels)
    _, after = ndimage.label(mask)
    assert (before, after) == (5, 1)
    found = split_vertebrae(mask, spine.affine)
    assert found.count == 5
    assert min(overlap(found.numbers, spine.labels)) > ALIKE
    # the border lies in the disc: nothing of a body is given away
    for value in range(101, 106):
        assert set(np.unique(found.numbers[spine.labels == value])) == {206 - value}


def test_a_missing_vertebra_leaves_a_gap_and_no_confusion() -> None:
    spine = cylinders(7)
    mask = as_mask(np.where(spine.labels == 104, 0, spine.labels))
    assert split_vertebrae(mask, spine.affine).count == 6


def test_a_loose_spinous_process_goes_to_the_nearest_vertebra() -> None:
    spine = cylinders()
    mask = as_mask(spine.labels)
    # the pedicles of all vertebrae are missing from the mask
    mask[:, 32:36] = 0
    found = split_vertebrae(mask, spine.affine)
    assert found.count == 5
    truth = np.where(mask > 0, spine.labels, 0)
    assert min(overlap(found.numbers, truth)) > ALIKE


def test_something_small_beside_the_spine_is_left_out_and_said() -> None:
    spine = cylinders()
    mask = np.pad(as_mask(spine.labels), ((0, 50), (0, 0), (0, 0)))
    mask[85:97, 40:52, 40:52] = 1
    found = split_vertebrae(mask, spine.affine)
    assert found.count == 5
    assert not found.numbers[85:97].any()
    assert "lie beside the spine and are left out" in found.warnings[0]


def test_two_spines_are_not_measured() -> None:
    spine = cylinders()
    mask = np.concatenate([as_mask(spine.labels), np.zeros((30, *spine.labels.shape[1:]), np.uint8)] * 2)
    found = split_vertebrae(mask, spine.affine)
    assert found.count == 0
    assert "more than one spine" in found.warnings[0]


def test_two_numbered_spines_are_not_measured() -> None:
    spine = cylinders()
    values = np.where(spine.labels > 0, 106 - spine.labels.astype(int), 0)
    gap = np.zeros((30, *values.shape[1:]), int)
    mask = np.concatenate([values, gap, np.where(values > 0, values + 10, 0)]).astype(np.uint8)
    found, order = numbered_vertebrae(mask, spine.affine)
    assert (found.count, order, found.numbers.any()) == (0, [], False)
    assert "more than one spine" in found.warnings[0]


def test_something_small_beside_a_numbered_spine_is_left_out_and_said() -> None:
    spine = cylinders()
    mask = np.pad(spine.labels, ((0, 50), (0, 0), (0, 0)))
    mask[85:97, 40:52, 40:52] = 99
    found, order = numbered_vertebrae(mask, spine.affine)
    assert order == [105, 104, 103, 102, 101]
    assert ((found.numbers > 0) == ((mask > 0) & (mask != 99))).all()
    assert "lie beside the spine and are left out" in found.warnings[0]


def test_an_empty_mask_has_no_vertebrae() -> None:
    found = split_vertebrae(np.zeros((9, 9, 9), np.uint8), np.eye(4))
    assert (found.count, found.numbers.any()) == (0, False)
    assert "empty" in found.warnings[0]
    assert numbered_vertebrae(np.zeros((9, 9, 9), np.uint8), np.eye(4))[0].count == 0


def test_specks_are_no_vertebrae() -> None:
    mask = np.zeros((40, 40, 40), np.uint8)
    mask[20:22, 20:22, 5:35:6] = 1
    found = split_vertebrae(mask, np.eye(4))
    assert found.count == 0
    assert "as thick as a vertebral body" in found.warnings[0]


def test_a_numbered_mask_keeps_its_vertebrae_and_their_values() -> None:
    spine = anatomical()
    found, values = numbered_vertebrae(spine.labels, spine.affine)
    assert values == sorted(values)  # VerSe numbers them downwards
    for place, value in enumerate(values, start=1):
        assert ((found.numbers == 100 + place) == (spine.labels == value)).all()


def test_slices_of_5_mm_are_enough_to_count() -> None:
    spine = cylinders(spacing=1.0)
    thick = as_mask(spine.labels)[:, :, 2::5]
    affine = spine.affine @ np.diag([1, 1, 5.0, 1])
    assert DISC > 5 < HEIGHT
    assert split_vertebrae(thick, affine).count == 5
