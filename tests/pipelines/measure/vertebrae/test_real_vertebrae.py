"""Real vertebrae: counted as they are, of plausible height, intact ones without a grade, fractured ones with theirs."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from radseg.pipelines.measure.vertebrae import deformities, measured_bodies, plausible_deformities, split_vertebrae
from radseg.transforms.vertebrae import FractureVertebra
from radseg.transforms.vertebrae.compression import KINDS, Kind
from radseg.transforms.vertebrae.endplates import EDGE
from radseg.transforms.vertebrae.squeeze import plan


def chest(real_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertebrae of a chest CT, every second row and column around the spine."""
    file = nib.load(real_data / "chest_ct/structures.nii.gz")
    numbers = np.asarray(file.dataobj[140:380:2, 60:330:2]).astype(np.uint8)
    numbers[(numbers < 26) | (numbers > 50)] = 0
    affine = file.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [140, 60, 0]
    affine[:3, :2] *= 2
    return numbers, affine


def lumbar(real_data: Path) -> tuple[np.ndarray, np.ndarray]:
    file = nib.load(real_data / "spine_ct/verse014/vertebrae.nii.gz")
    return np.asarray(file.dataobj).astype(np.uint8), file.affine


def test_a_real_chest_has_growing_intact_vertebrae(real_data: Path) -> None:
    numbers, affine = chest(real_data)
    found = split_vertebrae((numbers > 0).astype(np.uint8), affine)
    # of the eighteen labelled C6 (46) is a scrap of 0.1 ml
    assert found.count == 17
    bodies = measured_bodies(found.numbers, affine, found.count)
    whole = [one.body for one in bodies if one.body is not None]
    assert len(whole) == 15
    posterior = [body.heights.posterior_mm for body in whole]
    assert all(10 < height < 40 for body in whole for height in vars(body.heights).values())
    assert np.corrcoef(posterior, np.arange(len(posterior)))[0, 1] > 0.9
    heights = [None if one.body is None else one.body.heights for one in bodies]
    graded = deformities(heights, [False] * found.count, [one.uncertainty_mm for one in bodies])
    assert sum(one is not None and one.grade > 0 for one in graded) <= 1


def test_real_vertebrae_are_parted_where_their_joints_touch(real_data: Path) -> None:
    numbers, affine = lumbar(real_data)
    found = split_vertebrae((numbers > 0).astype(np.uint8), affine)
    assert found.count == 5
    for place, value in enumerate(range(20, 25), start=1):
        one, truth = found.numbers == 100 + place, numbers == value
        assert 2 * (one & truth).sum() / (one.sum() + truth.sum()) > 0.93


@pytest.mark.parametrize(("spine", "whole"), [(chest, 15), (lumbar, 5)])
def test_no_whole_real_vertebra_is_called_implausible(
    spine: Callable[[Path], tuple[np.ndarray, np.ndarray]], whole: int, real_data: Path
) -> None:
    numbers, affine = spine(real_data)
    found = split_vertebrae((numbers > 0).astype(np.uint8), affine)
    bodies = measured_bodies(found.numbers, affine, found.count)
    graded, doubts = plausible_deformities(bodies, [False] * found.count)
    assert doubts == [None] * found.count
    assert sum(one is not None for one in graded) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_fracture_in_a_real_spine_is_graded(kind: Kind, real_data: Path) -> None:
    numbers, affine = lumbar(real_data)
    ct = np.asarray(nib.load(real_data / "spine_ct/verse014/ct.nii.gz").dataobj, np.float32)
    made = plan(numbers, affine, 22, kind, 0.325)
    lost = [made.lost_mm(q) for q in (EDGE, 0.0, -EDGE)]
    goal = [before - less for before, less in zip(vars(made.body.heights).values(), lost, strict=True)]
    image, labels = (MetaTensor(torch.from_numpy(one)[None], affine=affine) for one in (ct, numbers))
    broken, named = FractureVertebra(22, kind, 0.325)(image, labels)
    after = named[0].numpy()
    found = split_vertebrae(np.where(after == 22, 2, after > 0).astype(np.uint8), affine)
    for grey in (None, broken[0].numpy()):
        bodies = measured_bodies(found.numbers, affine, found.count, image=grey)
        heights = [None if one.body is None else one.body.heights for one in bodies]
        graded = deformities(heights, [False] * found.count, [one.uncertainty_mm for one in bodies])
        assert [one.grade if one else None for one in graded] == [0, 0, 2, 0, 0]
        assert graded[2] is not None
        assert graded[2].kind == kind
        assert heights[2] is not None
        errors = [abs(one - other) for one, other in zip(vars(heights[2]).values(), goal, strict=True)]
        assert np.mean(errors) < 1.0
