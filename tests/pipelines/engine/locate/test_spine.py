"""The spine finder keeps every vertebra inside its region, or says that it isn't sure."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from radseg.pipelines.engine.locate.region import Found
from radseg.pipelines.engine.locate.spine import SpineFinder
from radseg.pipelines.io import Volume, load_mask, load_volume

SAMPLES = Path(__file__).parents[4] / "sample_data" / "spine"
Flags = npt.NDArray[np.bool_]
Case = tuple[Volume, Flags]

SIZE_MM = 3.0
AFFINE = np.diag([SIZE_MM, SIZE_MM, SIZE_MM, 1.0])


def kept(found: Found, volume: Volume, vertebrae: Flags) -> float:
    """Share of vertebra voxels inside the region."""
    assert found.region is not None
    to_region = np.linalg.inv(found.region.affine_ras) @ volume.affine_ras
    index = np.rint(np.argwhere(vertebrae) @ to_region[:3, :3].T + to_region[:3, 3]).astype(int)
    return float(found.region.mask[tuple(index.T)].mean())


def safe(volume: Volume, vertebrae: Flags) -> bool:
    """All vertebrae found, or none claimed."""
    found = SpineFinder()(volume)
    return found.region is None or not vertebrae.any() or kept(found, volume, vertebrae) >= 0.999


def trunk(shape: tuple[int, int, int] = (110, 80, 70)) -> npt.NDArray[np.float32]:
    """HU of an oval trunk of soft tissue in air, at 3 mm, (R, A, S)."""
    i, j, _ = np.indices(shape)
    hu = np.full(shape, -1000, np.float32)
    hu[((i - shape[0] / 2) / 48) ** 2 + ((j - shape[1] / 2) / 33) ** 2 < 1] = 40
    return hu


def with_spine(side_mm: float = 0.0) -> Case:
    """A trunk with a column that swings to the side: bodies, discs, arches around a canal, processes."""
    hu = trunk()
    i, j, k = np.indices(hu.shape)
    x = (i - 55) * SIZE_MM - side_mm * np.sin(k / 70 * np.pi)
    y = (j - 24) * SIZE_MM
    vertebra = k % 10 < 8
    body = ((x / 21) ** 2 + ((y - 25) / 16) ** 2 < 1) & vertebra
    arch = (np.hypot(x, y) > 9) & (np.hypot(x, y) < 16) & (k % 10 < 6) & (y < 10)
    process = ((abs(x) < 4) & (y < -12) & (y > -40) | (abs(y + 5) < 4) & (abs(x) < 45)) & (k % 10 < 4) & ~arch
    bone = body | arch | (process & (np.hypot(x, y) > 9))
    hu[body], hu[arch | process & (np.hypot(x, y) > 9)] = 180, 450
    return Volume(hu, AFFINE, "HU"), np.asarray(bone)


@cache
def chest_ct(real_data: Path) -> Case:
    """The real chest at about 2.8 mm."""
    image = load_volume(real_data / "chest_ct" / "ct.nii.gz")
    labels = load_mask(real_data / "chest_ct" / "structures.nii.gz").array
    cells = image.affine_ras @ np.diag([4.0, 4.0, 1.0, 1.0])
    smooth = ndimage.uniform_filter(image.array, (4, 4, 1))[::4, ::4]
    return Volume(np.ascontiguousarray(smooth), cells, "HU"), ((labels >= 26) & (labels <= 50))[::4, ::4]


@pytest.fixture
def chest(real_data: Path) -> Case:
    return chest_ct(real_data)


def real(name: str, folder: Path) -> Case:
    spine_ct, example = folder / "spine_ct", folder / "spine_ct" / "totalsegmentator_example"
    image, labels, first = {
        "chest": (folder / "chest_ct" / "ct.nii.gz", folder / "chest_ct" / "structures.nii.gz", 26),
        "abdomen": (example / "example_ct.nii.gz", example / "totalseg.nii.gz", 26),
        "osteoporotic": (spine_ct / "verse014" / "ct.nii.gz", spine_ct / "verse014" / "vertebrae.nii.gz", 20),
    }[name]
    ids = load_mask(labels).array
    return load_volume(image), (ids >= first) & (ids <= 50)


@pytest.mark.parametrize(("name", "most"), [("chest", 0.16), ("abdomen", 0.32), ("osteoporotic", 0.85)])
def test_real_spines_lie_inside_a_region_that_is_smaller_than_the_volume(
    real_data: Path, name: str, most: float
) -> None:
    volume, vertebrae = real(name, real_data)
    found = SpineFinder()(volume)
    assert kept(found, volume, vertebrae) == 1
    assert found.region is not None
    assert found.region.mask.mean() < most
    assert "mm" in found.note


@pytest.mark.parametrize("path", sorted((SAMPLES / "imagesTr").glob("*.nii.gz")), ids=lambda path: path.name[:7])
def test_simulated_spines_of_the_sample_data_lie_inside(path: Path) -> None:
    volume = load_volume(path)
    assert kept(SpineFinder()(volume), volume, load_mask(SAMPLES / "labelsTr" / path.name).array > 0) == 1


@pytest.mark.parametrize("side_mm", [0.0, 25.0, -25.0])
def test_a_column_that_swings_to_the_side_is_followed(side_mm: float) -> None:
    volume, vertebrae = with_spine(side_mm)
    found = SpineFinder()(volume)
    assert kept(found, volume, vertebrae) == 1
    assert found.region is not None
    assert found.region.mask.mean() < 0.7


@pytest.mark.parametrize("side_mm", [40.0, -60.0])
def test_severe_scoliosis_is_followed_or_unsure(side_mm: float) -> None:
    assert safe(*with_spine(side_mm))


def test_the_order_and_direction_of_the_voxel_axes_do_not_matter() -> None:
    volume, _ = with_spine(20.0)
    turned = np.ascontiguousarray(volume.array[::-1, :, ::-1].transpose(2, 0, 1))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = -AFFINE[:3, 2], -AFFINE[:3, 0], AFFINE[:3, 1]
    affine[:3, 3] = (AFFINE @ np.array([109, 0, 69, 1.0]))[:3]
    first, second = SpineFinder()(volume), SpineFinder()(Volume(turned, affine, "HU"))
    assert first.region is not None
    assert first.note == second.note


def turned(case: Case, degrees: float, axes: tuple[int, int]) -> Case:
    """The patient turned inside the scanner (of voxels that are nearly cubes)."""
    volume, vertebrae = case
    hu = ndimage.rotate(volume.array, degrees, axes, reshape=False, order=1, cval=-1024)
    mask = ndimage.rotate(vertebrae.view(np.uint8), degrees, axes, reshape=False, order=0) > 0
    return Volume(hu, volume.affine_ras, "HU"), mask


def cut(case: Case, *sides: slice) -> Case:
    volume, vertebrae = case
    start = np.array([*(side.start or 0 for side in sides), 1.0])
    affine = volume.affine_ras.copy()
    affine[:, 3] = volume.affine_ras @ start
    return Volume(np.ascontiguousarray(volume.array[sides]), affine, "HU"), vertebrae[sides]


def less_bone(case: Case, hu: float) -> Case:
    """Bone that has lost density."""
    array = case[0].array
    thin = np.where(array > 80, np.maximum(60, array - hu), array).astype(np.float32)
    return Volume(thin, case[0].affine_ras, "HU"), case[1]


def noisy(case: Case, hu: float) -> Case:
    noise = np.random.default_rng(0).normal(0, hu, case[0].array.shape)
    return Volume((case[0].array + noise).astype(np.float32), case[0].affine_ras, "HU"), case[1]


def mirrored(case: Case, axis: int) -> Case:
    """An affine that says the opposite of the truth along one axis."""
    return Volume(np.flip(case[0].array, axis).copy(), case[0].affine_ras, "HU"), np.flip(case[1], axis)


def with_rods(case: Case) -> Case:
    volume, vertebrae = case
    at = np.argwhere(vertebrae).mean(axis=0)
    i, j, _ = np.indices(volume.array.shape, sparse=True)
    rods = np.minimum(np.hypot(i - at[0] - 8, j - at[1]), np.hypot(i - at[0] + 8, j - at[1])) < 2
    return Volume(np.where(rods, 3071, volume.array).astype(np.float32), volume.affine_ras, "HU"), vertebrae


CHANGES: dict[str, Callable[[Case], Case]] = {
    "turned 30° on the table": lambda case: turned(case, 30, (0, 1)),
    "turned 20° the other way": lambda case: turned(case, -20, (0, 1)),
    "lying on the side": lambda case: turned(case, 90, (0, 1)),
    "lying aslant": lambda case: turned(case, 15, (0, 2)),
    "100 HU less bone": lambda case: less_bone(case, 100),
    "noise of 60 HU": lambda case: noisy(case, 60),
    "100 HU less bone, noise of 60 HU": lambda case: noisy(less_bone(case, 100), 60),
    "left and right swapped": lambda case: mirrored(case, 0),
    "front and back swapped": lambda case: mirrored(case, 1),
    "head and feet swapped": lambda case: mirrored(case, 2),
    "metal rods": with_rods,
    "lower half": lambda case: cut(case, slice(None), slice(None), slice(0, 66)),
    "few slices": lambda case: cut(case, slice(None), slice(None), slice(60, 74)),
    "narrow field of view": lambda case: cut(case, slice(40, 90), slice(None), slice(None)),
    "one side": lambda case: cut(case, slice(0, 66), slice(None), slice(None)),
    "the other side": lambda case: cut(case, slice(60, None), slice(None), slice(None)),
    "front part": lambda case: cut(case, slice(None), slice(45, None), slice(None)),
    "back part": lambda case: cut(case, slice(None), slice(0, 60), slice(None)),
    "heart in a small field of view": lambda case: cut(case, slice(40, 106), slice(41, 105), slice(8, 98)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_vertebra_is_lost_however_the_real_chest_is_changed(chest: Case, change: str) -> None:
    assert safe(*CHANGES[change](chest))


@pytest.mark.parametrize("change", ["noise of 60 HU", "100 HU less bone", "head and feet swapped", "lower half"])
def test_common_changes_do_not_make_it_unsure(chest: Case, change: str) -> None:
    volume, vertebrae = CHANGES[change](chest)
    assert kept(SpineFinder()(volume), volume, vertebrae) == 1


def test_a_chest_without_its_back_half_is_unsure(chest: Case) -> None:
    volume, _ = cut(chest, slice(None), slice(64, None), slice(None))
    assert SpineFinder()(volume).region is None


@pytest.mark.parametrize("part", [slice(0, 34), slice(14, 61)], ids=["hips and sacrum", "pelvis and two vertebrae"])
@pytest.mark.parametrize("sides", [slice(None), slice(38, 106), slice(20, 62)], ids=["all", "one hip", "half"])
def test_hips_are_not_taken_for_the_spine(real_data: Path, part: slice, sides: slice) -> None:
    assert safe(*cut(real("abdomen", real_data), sides, slice(None), part))


def head() -> npt.NDArray[np.float32]:
    i, j, k = np.indices((70, 80, 70))
    radius = np.sqrt(((i - 35) / 26) ** 2 + ((j - 40) / 32) ** 2 + ((k - 35) / 32) ** 2)
    return np.select([radius < 0.92, radius < 1], [35.0, 1200.0], -1000.0).astype(np.float32)


def legs() -> npt.NDArray[np.float32]:
    i, j, _ = np.indices((110, 60, 80))
    radius = np.minimum(np.hypot(i - 30, j - 30), np.hypot(i - 80, j - 30)) * SIZE_MM
    return np.select([radius < 14, radius < 20, radius < 60], [0.0, 1200.0, 50.0], -1000.0).astype(np.float32)


def ribs() -> npt.NDArray[np.float32]:
    i, j, _ = np.indices((110, 80, 70))
    radius = ((i - 55) / 48) ** 2 + ((j - 40) / 33) ** 2
    return np.select([radius < 0.75, radius < 0.85, radius < 1], [-800.0, 600.0, 40.0], -1000.0).astype(np.float32)


NO_SPINE: dict[str, Callable[[], npt.NDArray[np.float32]]] = {
    "air": lambda: np.full((60, 60, 60), -1000, np.float32),
    "water": trunk,
    "noise": lambda: np.random.default_rng(1).normal(0, 500, (60, 60, 60)).astype(np.float32),
    "noise in water": lambda: trunk() + np.random.default_rng(1).normal(0, 100, (110, 80, 70)).astype(np.float32),
    "head": head,
    "two legs": legs,
    "ribs only": ribs,
}


@pytest.mark.parametrize("name", NO_SPINE)
def test_what_shows_no_spine_is_unsure_and_says_why(name: str) -> None:
    found = SpineFinder()(Volume(NO_SPINE[name](), AFFINE, "HU"))
    assert found.region is None
    assert found.note


def test_three_centimetres_of_a_patient_are_too_few() -> None:
    volume, _ = with_spine()
    found = SpineFinder()(Volume(volume.array[:, :, :9], AFFINE, "HU"))
    assert found.region is None
    assert "27 mm" in found.note


def test_other_units_are_refused() -> None:
    volume, _ = with_spine()
    assert SpineFinder()(Volume(volume.array, AFFINE, "grey")) == Found(None, "not a CT in HU")
