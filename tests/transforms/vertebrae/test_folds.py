"""No fold between voxels either: the field of a fracture on a grid of half a millimetre, near the image's edges too."""

import numpy as np
import pytest
from numbered_spine import NumberedSpine, anatomical

from radseg.transforms.vertebrae.compression import KINDS, Compression, Kind
from radseg.transforms.vertebrae.squeeze import plan

# slices that are left of the spine's 124, and its vertebrae whose bodies lie whole in them, close to an edge
CROPS = {
    "whole": ((0, 124), (119, 121)),
    "little above": ((0, 94), (122,)),
    "the neighbour above cut": ((0, 106), (120,)),
    "little below": ((42, 124), (121,)),
    "the neighbour below cut": ((30, 124), (121,)),
    "little on both sides": ((40, 100), (121,)),
}


def cropped(first: int, last: int) -> NumberedSpine:
    spine, shift = anatomical(), np.eye(4)
    shift[2, 3] = first
    return NumberedSpine(spine.image[..., first:last], spine.labels[..., first:last], spine.affine @ shift)


def least_volume(compression: Compression) -> float:
    """The smallest share of its volume that anything keeps or gains backwards: the Jacobian of where values come from.

    Sampled on planes from side to side, from 50 mm behind to 40 mm in front, every half millimetre along the spine.
    """
    low, high = compression.reach_mm[1:]
    axes = (np.linspace(-25, 25, 5), np.linspace(-50, 40, 11), np.arange(-low, high, 0.5))
    points = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij")
    step = np.float32(0.1)
    here = np.stack(compression.taken_from((points[0], points[1], points[2])))
    columns = []
    for axis in range(3):
        there = [one + step * (at == axis) for at, one in enumerate(points)]
        moved = np.stack(compression.taken_from((there[0], there[1], there[2])))
        columns.append((moved - here) / step + np.eye(3)[axis][:, None, None, None])
    return float(np.linalg.det(np.moveaxis(np.array(columns), (0, 1), (-1, -2))).min())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("crop", CROPS)
def test_nothing_folds_wherever_the_image_ends(crop: str, kind: Kind) -> None:
    (first, last), vertebrae = CROPS[crop]
    spine = cropped(first, last)
    for vertebra in vertebrae:
        for loss in (0.25, 0.6):
            assert least_volume(plan(spine.labels, spine.affine, vertebra, kind, loss)) > 0.1
