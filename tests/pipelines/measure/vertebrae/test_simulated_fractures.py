"""Simulated fractures: the vertebra, its heights, form and grade are found again, from a mask of labels 1 and 2."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from numbered_spine import cylinders

from radseg.pipelines.measure.vertebrae import Deformity, deformities, measured_bodies, split_vertebrae
from radseg.transforms.vertebrae import FractureVertebra, Heights
from radseg.transforms.vertebrae.compression import KINDS, Kind

# the middle of each of Genant's grades; next to their limits the grid's error decides
LOSSES = {1: 0.225, 2: 0.325, 3: 0.5}
LOST = {"wedge": (1.0, 0.5, 0.0), "biconcave": (0.0, 1.0, 0.0), "crush": (1.0, 1.0, 1.0)}


def found_again(labels: np.ndarray, affine: np.ndarray, vertebra: int, kind: Kind, loss: float) -> tuple:
    """Heights and deformity of a vertebra after its fracture, and those of all others."""
    numbers = MetaTensor(torch.from_numpy(labels.copy())[None], affine=affine)
    _, broken = FractureVertebra(vertebra, kind, loss)(MetaTensor(torch.zeros(numbers.shape), affine=affine), numbers)
    after = broken[0].numpy()
    found = split_vertebrae(np.where(after == vertebra, 2, after > 0).astype(np.uint8), affine)
    bodies = measured_bodies(found.numbers, affine, found.count)
    place = int(np.bincount(found.numbers[after == vertebra])[101:].argmax())
    heights = [None if one.body is None else one.body.heights for one in bodies]
    marked = [at == place for at in range(found.count)]
    graded = deformities(heights, marked, [one.uncertainty_mm for one in bodies])
    return heights[place], graded[place], [one for at, one in enumerate(graded) if at != place]


def errors_mm(heights: Heights, before: tuple[float, float, float], kind: Kind, loss: float) -> list[float]:
    """How far heights are from what the fracture makes of the ones before; a wedge's loss is that of the front."""
    lead = before[0] if kind == "wedge" else None
    goal = [height - loss * share * (lead or height) for height, share in zip(before, LOST[kind], strict=True)]
    return [abs(one - other) for one, other in zip(vars(heights).values(), goal, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fracture_is_found_again(kind: Kind) -> None:
    spine = cylinders(margin_mm=60.0)
    heights, deformity, others = found_again(spine.labels, spine.affine, 103, kind, LOSSES[2])
    assert isinstance(deformity, Deformity)
    assert (deformity.kind, deformity.grade) == (kind, 2)
    assert all(one is not None and one.grade == 0 for one in others)
    assert np.mean(errors_mm(heights, (26.0, 26.0, 26.0), kind, LOSSES[2])) < 1.0


@pytest.mark.long
def test_nine_in_ten_grades_are_right_and_heights_within_a_millimetre() -> None:
    spine = cylinders(5, 0.8, 50.0)
    grades, kinds, errors = [], [], []
    for kind in KINDS:
        for grade, loss in LOSSES.items():
            heights, deformity, _ = found_again(spine.labels, spine.affine, 103, kind, loss)
            grades.append(deformity.grade == grade)
            kinds.append(deformity.kind == kind)
            errors += errors_mm(heights, (26.0, 26.0, 26.0), kind, loss)
    assert np.mean(grades) >= 0.9
    assert np.mean(kinds) >= 0.95
    assert np.mean(errors) < 1.0
