"""The body finder leaves out the air around a patient and nothing of the patient."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from radseg.pipelines.engine.locate import BodyFinder, Region
from radseg.pipelines.io import Volume, load_mask, load_volume

SPACING = np.diag([3.0, 3.0, 3.0, 1.0])


def trunk(hu_inside: float = 40.0, air: float = -1000.0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """An elliptic cylinder with a lung in it, and where it is."""
    i, j, _ = np.indices((120, 90, 40))
    body = ((i - 60) / 40) ** 2 + ((j - 45) / 28) ** 2 < 1
    hu = np.where(body, hu_inside, air).astype(np.float32)
    hu[((i - 45) / 14) ** 2 + ((j - 45) / 18) ** 2 < 1] = -850.0
    return hu, body


def twice_shifted() -> npt.NDArray[np.float32]:
    """A trunk with bone whose RescaleIntercept was added twice, so that only bone isn't air."""
    hu, _ = trunk()
    hu[55:75, 35:55] = 800.0
    return hu - 1024


def lost(region: Region | None, inside: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]) -> int:
    assert region is not None
    to_region = np.linalg.inv(region.affine_ras) @ affine
    index = np.rint(np.argwhere(inside) @ to_region[:3, :3].T + to_region[:3, 3]).astype(int)
    return int((~region.mask[tuple(np.clip(index, 0, np.array(region.mask.shape) - 1).T)]).sum())


def test_air_is_left_out_and_lung_is_body() -> None:
    hu, body = trunk()
    found = BodyFinder()(Volume(hu, SPACING, "HU"))
    assert lost(found.region, body, SPACING) == 0
    assert found.region is not None
    assert found.region.mask.mean() < 0.5
    boxes = np.array([[[0, 12], [0, 12], [0, 40]], [[40, 52], [40, 52], [0, 12]]])
    assert found.region.needed(SPACING)(boxes).tolist() == [False, True]


@pytest.mark.parametrize("padding", [-1024.0, -2048.0, -3024.0])
def test_padding_around_the_scan_is_air(padding: float) -> None:
    hu, body = trunk()
    i, j, _ = np.indices(hu.shape)
    hu[(i - 60) ** 2 + (j - 45) ** 2 > 44**2] = padding
    found = BodyFinder()(Volume(hu, SPACING, "HU"))
    assert lost(found.region, body, SPACING) == 0
    assert found.region is not None
    assert found.region.mask.mean() < 0.5


def test_a_lung_cut_by_the_field_of_view_is_body() -> None:
    hu, body = trunk()
    field = (slice(40, 80), slice(35, 60))
    found = BodyFinder()(Volume(hu[field], SPACING, "HU"))
    assert lost(found.region, body[field], SPACING) == 0


def test_a_scan_without_air_is_body_everywhere() -> None:
    noise = np.random.default_rng(0).normal(40, 20, (40, 40, 20)).astype(np.float32)
    found = BodyFinder()(Volume(noise, SPACING, "HU"))
    assert found.region is not None
    assert found.region.mask.all()


def test_cables_that_float_free_are_left_out() -> None:
    hu, _ = trunk()
    hu[4:6, 4:6] = 200.0
    found = BodyFinder()(Volume(hu, SPACING, "HU"))
    assert found.region is not None
    assert not found.region.needed(SPACING)(np.array([[[0, 8], [0, 8], [0, 40]]])).any()


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (Volume(np.full((40, 40, 40), -1000, np.float32), SPACING, "HU"), "hardly any body"),
        (Volume(twice_shifted(), SPACING, "HU"), "hardly any soft tissue: the values may not be HU"),
        (Volume(trunk()[0], SPACING, "grey"), "not a CT in HU"),
        (Volume(trunk()[0], SPACING, "HU", is_picture=True), "not a CT in HU"),
        (Volume(trunk()[0], SPACING, "HU", spacing_known=False), "the size of a voxel isn't known"),
    ],
    ids=["air", "twice-shifted", "grey", "picture", "no-spacing"],
)
def test_the_finder_is_not_sure_of_what_is_no_body(volume: Volume, reason: str) -> None:
    found = BodyFinder()(volume)
    assert (found.region, found.note) == (None, reason)


@pytest.mark.parametrize(
    ("ct", "mask"),
    [
        ("chest_ct/ct.nii.gz", "chest_ct/structures.nii.gz"),
        ("spine_ct/verse014/ct.nii.gz", "spine_ct/verse014/vertebrae.nii.gz"),
        (
            "spine_ct/totalsegmentator_example/example_ct.nii.gz",
            "spine_ct/totalsegmentator_example/totalseg.nii.gz",
        ),
    ],
    ids=["chest", "lumbar", "trunk"],
)
def test_no_labelled_structure_of_a_patient_is_lost(real_data: Path, ct: str, mask: str) -> None:
    volume = load_volume(real_data / ct)
    found = BodyFinder()(volume)
    half = np.diag([2.0, 2.0, 1.0, 1.0])  # every other voxel in two directions: much finer than the region's cells
    structures = load_mask(real_data / mask).array[::2, ::2] > 0
    assert lost(found.region, structures, volume.affine_ras @ half) == 0
    assert found.region is not None
    assert found.region.mask.mean() < 0.95
