"""Endplates between the voxels: a CT of thick slices gives heights that its mask can't."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from radseg.pipelines.measure.vertebrae import measured_bodies

SPACING = (1.2, 1.2, 2.5)
DISC = 5.0
MARROW_HU, ENDPLATE_HU, DISC_HU, AROUND_HU = 160.0, 450.0, 80.0, 40.0


@dataclass(frozen=True)
class Stack:
    """Three elliptic bodies with dense endplates and discs between them, in slices of 2.5 mm."""

    image: np.ndarray
    numbers: np.ndarray
    affine: np.ndarray


@cache
def stack(height: float, tilt_degrees: float, disc_hu: float = DISC_HU) -> Stack:
    """The phantom on a grid tilted about the left-right axis; each voxel is the mean of eight points along k."""
    angle = np.deg2rad(tilt_degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    shape = (32, 30 + round(abs(tilt_degrees)), 42)
    affine = np.eye(4)
    affine[:3, :3] = turn * SPACING
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    i, j, k = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    image, bone = np.zeros(shape), np.zeros((3, *shape))
    parts = (np.arange(8) + 0.5) / 8 - 0.5
    for part in parts:
        x, y, z = np.moveaxis(np.stack([i, j, k + part], axis=-1) @ affine[:3, :3].T + affine[:3, 3], -1, 0)
        across = (x / 18) ** 2 + (y / 14) ** 2 < 1
        level = np.rint(z / (height + DISC))
        depth = height / 2 - np.abs(z - level * (height + DISC))
        mine = across & (depth > 0) & (np.abs(level) <= 1)
        image += np.where(across, disc_hu, AROUND_HU)
        image += np.where(mine, np.where(depth < 1, ENDPLATE_HU, MARROW_HU) - disc_hu, 0)
        for place in range(3):
            bone[place] += mine & (level == 1 - place)
    image = image / len(parts) + np.random.default_rng(1).normal(0, 15, shape)
    numbers = np.zeros(shape, np.int16)
    for place in range(3):
        numbers[bone[place] >= 4] = 101 + place
    return Stack(image.astype(np.float32), numbers, affine)


def errors(height: float, tilt_degrees: float, with_ct: bool, disc_hu: float = DISC_HU) -> list[float]:
    one = stack(height, tilt_degrees, disc_hu)
    body = measured_bodies(one.numbers, one.affine, 3, image=one.image if with_ct else None)[1].body
    assert body is not None
    return [abs(found - height) for found in vars(body.heights).values()]


# endplates along the slices are the worst case: in the mask their distance is a whole number of slices
@pytest.mark.parametrize(("tilt_degrees", "most_mm"), [(0.0, 2 / 3 * SPACING[2]), (12.0, 0.8)])
def test_a_ct_in_slices_of_2_5_mm_gives_heights_nearer_than_its_mask(tilt_degrees: float, most_mm: float) -> None:
    by_ct, by_mask = (
        [off for height in (21.4, 22.3, 24.1) for off in errors(height, tilt_degrees, with_ct)]
        for with_ct in (True, False)
    )
    assert max(by_ct) < most_mm
    assert np.mean(by_ct) < 1.0
    assert np.mean(by_ct) < 0.7 * np.mean(by_mask)


def test_a_disc_as_dense_as_bone_leaves_the_mask_s_heights() -> None:
    dense = errors(22.3, 12.0, True, disc_hu=ENDPLATE_HU)
    assert max(dense) < max(errors(22.3, 12.0, False)) + 0.3


def test_the_grey_values_of_a_ct_in_whole_numbers_give_the_same() -> None:
    one = stack(22.3, 0.0)
    found, whole = (
        measured_bodies(one.numbers, one.affine, 3, image=image)[1].body
        for image in (np.rint(one.image), one.image.astype(np.int16))
    )
    assert found is not None
    assert whole is not None
    assert vars(found.heights) == pytest.approx(vars(whole.heights), abs=0.05)
