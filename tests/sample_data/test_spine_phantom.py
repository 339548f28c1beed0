"""The spine CTs look like CT, and their fractured vertebrae really are lower than the others."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from radseg.sample_data.spine_cases import SPINE_CASES
from radseg.sample_data.spine_column import Vertebra, build_column
from radseg.sample_data.spine_phantom import SpineCase

CASES = {case.name: case for case in SPINE_CASES}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> SpineCase:
    return CASES[request.param]


def voxels(sample_data: Path, folder: str, case: SpineCase) -> NDArray[np.int16]:
    return np.asanyarray(nib.load(sample_data / "spine" / folder / f"{case.name}.nii.gz").dataobj)


def measured_height(case: SpineCase, label: NDArray[np.int16], vertebra: Vertebra, posterior: float) -> float | None:
    """Return the height of a body in mm in the mask, `posterior` half depths behind its middle; None at the edge."""
    steps = np.arange(-30.0, 30.0, 0.25)
    heights = []
    for lateral in (-4.0, 0.0, 4.0):
        local = np.stack([np.full_like(steps, lateral), np.full_like(steps, posterior * vertebra.half_depth_mm), steps])
        lps = vertebra.axes_lps @ local + (vertebra.center_lps + np.array(case.column_lps))[:, None]
        index = np.linalg.inv(case.grid.affine_lps) @ np.vstack([lps, np.ones_like(steps)])
        i, j, k = np.rint(index[:3]).astype(int)
        columns, rows, slices = label.shape
        within = (i >= 0) & (i < columns) & (j >= 0) & (j < rows) & (k > 0) & (k < slices - 1)
        near = np.abs(steps) < 0.75 * vertebra.height_mm
        if not within[near].all():
            return None
        bone = np.zeros(len(steps), dtype=bool)
        bone[within] = label[i[within], j[within], k[within]] > 0
        outside = np.flatnonzero(~bone)
        # A body that has lost its upper part holds bone 4 mm below its middle in any case.
        middle = len(steps) // 2 - (16 if vertebra.is_fractured else 0)
        above, below = outside[outside > middle].min(), outside[outside < middle].max()
        heights.append((above - below - 1) * 0.25)
    return float(np.mean(heights))


def heights(case: SpineCase, label: NDArray[np.int16], vertebra: Vertebra) -> tuple[float, float] | None:
    front, middle = (measured_height(case, label, vertebra, posterior) for posterior in (-0.75, 0.0))
    return None if front is None or middle is None else (front, middle)


def test_labels_are_background_vertebra_and_fractured_vertebra(sample_data: Path, case: SpineCase) -> None:
    assert np.unique(voxels(sample_data, "labelsTr", case)).tolist() == [0, 1, 2]


def test_a_fractured_vertebra_is_lower_than_its_intact_neighbours(sample_data: Path, case: SpineCase) -> None:
    label = voxels(sample_data, "labelsTr", case)
    column = build_column(case.spine)
    measured = {vertebra.level: heights(case, label, vertebra) for vertebra in column}
    compared = 0
    for position, vertebra in enumerate(column):
        own = measured[vertebra.level]
        if not vertebra.is_fractured or own is None:
            continue
        around = [column[position - 1], column[position + 1]]
        intact = [measured[other.level] for other in around if not other.is_fractured]
        references = [pair for pair in intact if pair is not None]
        if not references:
            continue
        remaining = np.array(own) / np.mean(references, axis=0)
        assert remaining.min() < 1 - 0.6 * vertebra.fracture.loss, (vertebra.level, own, references)
        assert remaining.min() > 1 - 1.6 * vertebra.fracture.loss, (vertebra.level, own, references)
        compared += 1
    assert compared == len(case.spine.fractures)


def test_each_fracture_that_a_case_names_is_in_its_image(sample_data: Path, case: SpineCase) -> None:
    label = voxels(sample_data, "labelsTr", case)
    for vertebra in build_column(case.spine):
        if vertebra.is_fractured:
            lps = np.append(vertebra.center_lps + np.array(case.column_lps), 1.0)
            i, j, k = np.rint(np.linalg.inv(case.grid.affine_lps) @ lps).astype(int)[:3]
            assert label[i, j, k] == 2


def test_densities_are_those_of_air_soft_tissue_and_bone(sample_data: Path, case: SpineCase) -> None:
    image, label = voxels(sample_data, "imagesTr", case), voxels(sample_data, "labelsTr", case)
    assert image.dtype == np.int16
    assert image.min() >= -1024
    assert (image < -900).any()
    assert 500 < image[label > 0].max() < 1300
    assert 120 < np.median(image[label > 0]) < 500
    soft = image[(label == 0) & (image > -300) & (image < 200)]
    assert -120 < np.percentile(soft, 10) < -40
    assert 25 < np.percentile(soft, 80) < 80


def test_the_osteoporotic_spine_is_less_dense_than_the_healthy_one(sample_data: Path) -> None:
    medians = {}
    for name in ("spine02", "spine05"):
        image = voxels(sample_data, "imagesTr", CASES[name])
        medians[name] = np.median(image[voxels(sample_data, "labelsTr", CASES[name]) == 1])
    assert medians["spine02"] < 0.75 * medians["spine05"]
