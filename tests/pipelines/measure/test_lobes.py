"""Lobes by the values of two public tools."""

import numpy as np
import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.measure.lobes import LUNGMASK, TOTALSEGMENTATOR, five_lobes

AFFINE = np.diag([-1.0, 1, 1, 1])  # the first axis runs to the left


def five(values: tuple[int, ...]) -> np.ndarray:
    labels = np.zeros((10, 3, 6), np.uint8)
    labels[5:, :, 3:], labels[5:, :, :3] = values[0], values[1]
    labels[:5, :, 4:], labels[:5, :, 2:4], labels[:5, :, :2] = values[2:]
    return labels


@pytest.mark.parametrize("values", [TOTALSEGMENTATOR, LUNGMASK])
def test_both_numberings_are_known(values: tuple[int, ...]) -> None:
    assert (five_lobes(five(values), AFFINE) == five((1, 2, 3, 4, 5))).all()


def test_other_structures_of_a_whole_body_mask_dont_matter() -> None:
    labels = five(TOTALSEGMENTATOR)
    labels[:, 0], labels[:, 1] = 5, 51  # liver and heart; 5 is a lobe in the other numbering
    lobes = five_lobes(labels, AFFINE)
    assert not lobes[:, :2].any()
    assert (lobes[:, 2] > 0).all()


def test_values_may_be_given() -> None:
    assert (five_lobes(five((7, 8, 20, 30, 40)), AFFINE, (7, 8, 20, 30, 40)) == five((1, 2, 3, 4, 5))).all()


def test_lobes_on_the_wrong_side_and_masks_without_lobes_are_refused() -> None:
    with pytest.raises(InputError, match="on the patient's right"):
        five_lobes(five((12, 13, 10, 11, 14)), AFFINE)
    with pytest.raises(InputError, match="none of the values 10, 11"):
        five_lobes(np.full((2, 2, 2), 99, np.uint8), AFFINE)
