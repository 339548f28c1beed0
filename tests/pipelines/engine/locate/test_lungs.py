"""The lung finder names the slices with lung, loses none of it, and says so when it can't tell."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from radseg.pipelines.engine.locate import LungFinder, Region
from radseg.pipelines.io import Volume, load_mask, load_volume

SPACING = np.diag([3.0, 3.0, 3.0, 1.0])
SAMPLES = Path(__file__).parents[4] / "sample_data" / "lung_ct"
HALF = np.diag([2.0, 2.0, 1.0, 1.0])
LOBES = {"left upper": 10, "left lower": 11, "right upper": 12, "right middle": 13, "right lower": 14}


def chest() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """HU at 3 mm of a trunk with two egg-shaped lungs, spine, ribs and bowel gas; the left and the right lung."""
    i, j, k = np.indices((130, 100, 150))
    hu = np.full(i.shape, -1000, np.float32)
    hu[((i - 65) / 55) ** 2 + ((j - 50) / 38) ** 2 < 1] = 30
    ribs = ((i - 65) / 50) ** 2 + ((j - 50) / 33) ** 2
    hu[(ribs < 1) & (ribs > 0.88) & (k % 8 < 3)] = 500
    hu[(i - 65) ** 2 + (j - 25) ** 2 < 36] = 400
    # a lung's lower half is hollow in front: the dome of the diaphragm
    left, right = (
        (((i - 65 - side) / 17) ** 2 + ((j - 48) / 26) ** 2 + ((k - 90) / 45) ** 2 < 1)
        & (((i - 65 - side) / 26) ** 2 + ((j - 62) / 30) ** 2 + ((k - 45) / 36) ** 2 > 1)
        for side in (-24, 24)
    )
    hu[left | right] = -850
    hu[((i - 75) / 12) ** 2 + ((j - 70) / 7) ** 2 + ((k - 15) / 6) ** 2 < 1] = -1000
    return hu, left, right


def lost(region: Region | None, inside: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]) -> int:
    assert region is not None
    to_region = np.linalg.inv(region.affine_ras) @ affine
    index = np.rint(np.argwhere(inside) @ to_region[:3, :3].T + to_region[:3, 3]).astype(int)
    return int((~region.mask[tuple(np.clip(index, 0, np.array(region.mask.shape) - 1).T)]).sum())


def slices_in(region: Region | None, volume: Volume) -> tuple[int, int]:
    assert region is not None
    i, j, k = volume.array.shape
    return region.box(volume.affine_ras, (i, j, k))[2]


def test_slices_without_lung_are_left_out_and_no_lung_is_lost() -> None:
    hu, left, right = chest()
    volume = Volume(hu, SPACING, "HU")
    found = LungFinder()(volume)
    assert lost(found.region, left | right, SPACING) == 0
    first, *_, last = np.nonzero((left | right).any(axis=(0, 1)))[0]
    start, stop = slices_in(found.region, volume)
    assert first - 6 <= start < first
    assert last < stop <= last + 6


def test_bowel_gas_far_below_does_not_make_a_slice_one_with_lung() -> None:
    volume = Volume(chest()[0], SPACING, "HU")
    assert slices_in(LungFinder()(volume).region, volume)[0] > 25


def test_orientation_of_the_voxels_makes_no_difference() -> None:
    hu, left, right = chest()
    turned = np.array([[0, 0, -3.0, 9], [3.0, 0, 0, -4], [0, -3.0, 0, 2], [0, 0, 0, 1]])
    volume = Volume(np.ascontiguousarray(hu[::-1, :, ::-1].transpose(1, 2, 0)), turned, "HU")
    lungs = np.ascontiguousarray((left | right)[::-1, :, ::-1].transpose(1, 2, 0))
    assert lost(LungFinder()(volume).region, lungs, turned) == 0


def test_a_windpipe_open_to_the_room_does_not_let_the_lungs_out() -> None:
    hu, left, right = chest()
    i, j, k = np.indices(hu.shape)
    hu[((i - 65) ** 2 + (j - 52) ** 2 < 9) & (k > 90)] = -1000
    hu[(abs(i - 65) < 30) & (abs(j - 52) < 4) & (k == 100)] = -900  # windpipe and lungs are one
    hu[(abs(i - 65) < 3) & (j > 50) & (k > 140)] = -1000
    assert lost(LungFinder()(Volume(hu, SPACING, "HU")).region, left | right, SPACING) == 0


def test_a_lung_half_full_of_fluid_is_found_whole_by_the_other_one() -> None:
    hu, left, right = chest()
    k = np.indices(hu.shape)[2]
    hu[left & (k < 85)] = 20
    assert lost(LungFinder()(Volume(hu, SPACING, "HU")).region, left | right, SPACING) == 0


def _painted(what: str) -> Volume:
    hu, left, right = chest()
    _, j, k = np.indices(hu.shape)
    lungs = left | right
    parts = {
        "one lung full of fluid": left,
        "no lung": lungs,
        "both lungs cut off flat": lungs & (k < 80),
        "fluid in the back of both": lungs & (j < 48),
    }
    hu[parts[what]] = 20
    return Volume(hu, SPACING, "HU")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("one lung full of fluid", "one lung is much smaller than the other"),
        ("no lung", "hardly any air of lungs"),
        ("both lungs cut off flat", "the lungs end all at once"),
        ("fluid in the back of both", "the back of the lungs isn't seen"),
    ],
)
def test_the_finder_is_not_sure_when_it_sees_no_pair_of_lungs(what: str, reason: str) -> None:
    found = LungFinder()(_painted(what))
    assert (found.region, found.note) == (None, reason)


def test_the_finder_is_not_sure_of_lungs_that_the_field_of_view_cuts() -> None:
    found = LungFinder()(Volume(chest()[0][35:95], SPACING, "HU"))
    assert (found.region, found.note) == (None, "the field of view cuts the lungs")


@pytest.mark.parametrize(
    "volume",
    [
        Volume(chest()[0], SPACING, "grey"),
        Volume(chest()[0][:, :, 70:71], SPACING, "HU", is_picture=True),
    ],
    ids=["grey", "picture"],
)
def test_only_ct_is_searched(volume: Volume) -> None:
    assert LungFinder()(volume).note == "not a CT in HU"


@pytest.mark.parametrize("case", ["lung01", "lung04", "lung06"])
def test_the_sample_cases_lungs_are_found_whole(case: str) -> None:
    volume = load_volume(SAMPLES / "imagesTr" / f"{case}.nii.gz")
    lungs = load_mask(SAMPLES / "lungs" / f"{case}.nii.gz").array > 0
    assert lost(LungFinder()(volume).region, lungs, volume.affine_ras) == 0


@cache
def _patient(folder: Path) -> tuple[Volume, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """The CT, its structures, and its lobes in every other column and row (0.7 mm; a cell of the region has 2.8)."""
    structures = load_mask(folder / "structures.nii.gz").array.astype(np.uint8)
    lobes = np.isin(structures[::2, ::2], list(LOBES.values()))
    return load_volume(folder / "ct.nii.gz"), structures, lobes


def test_a_patients_lobes_are_found_whole_in_a_part_of_the_slices(real_data: Path) -> None:
    volume, _, lobes = _patient(real_data / "chest_ct")
    found = LungFinder()(volume)
    assert lost(found.region, lobes, volume.affine_ras @ HALF) == 0
    start, stop = slices_in(found.region, volume)
    assert stop - start < 0.9 * volume.array.shape[2]


@pytest.mark.parametrize(
    ("dense", "note"),
    [
        (["left lower"], "lungs: "),
        pytest.param(["right lower"], "lungs: ", marks=pytest.mark.long),
        pytest.param(["right upper"], "lungs: ", marks=pytest.mark.long),
        (["left lower", "right lower"], "lungs: "),
        pytest.param(["left upper", "right upper"], "the lungs are dense", marks=pytest.mark.long),
        (["left upper", "left lower"], "one lung is much smaller than the other"),
    ],
    ids=["left-lower", "right-lower", "right-upper", "both-lower", "both-upper", "left"],
)
def test_a_patients_dense_lobe_is_never_lost(real_data: Path, dense: list[str], note: str) -> None:
    volume, structures, lobes = _patient(real_data / "chest_ct")
    painted = np.where(np.isin(structures, [LOBES[name] for name in dense]), np.float32(20), volume.array)
    found = LungFinder()(replace(volume, array=painted))
    assert found.note.startswith(note)
    if found.region is not None:
        assert lost(found.region, lobes, volume.affine_ras @ HALF) == 0


@pytest.mark.parametrize("name", ["verse014/ct", "totalsegmentator_example/example_ct"])
def test_a_scan_of_the_abdomen_is_run_whole(real_data: Path, name: str) -> None:
    found = LungFinder()(load_volume(real_data / "spine_ct" / f"{name}.nii.gz"))
    assert (found.region, found.note) == (None, "hardly any air of lungs")
