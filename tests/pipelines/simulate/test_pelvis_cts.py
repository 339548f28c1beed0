"""The verb `data ct`: a dataset of simulated CTs that spine can be trained on, the same for the same seed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import closed_surfaces
import nibabel as nib
import numpy as np
import pytest

from radseg.pipelines.datasets import check
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.layouts.vertebrae import labels_of
from radseg.pipelines.simulate.pelvis_cts import MadeCTs, make_pelvis_cts
from radseg.transforms.vertebrae import VertebraLabels


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surfaces")
    closed_surfaces.write_pelvis(folder, 7)
    return folder


@pytest.fixture(scope="module")
def made(surfaces: Path, tmp_path_factory: pytest.TempPathFactory) -> MadeCTs:
    folder = tmp_path_factory.mktemp("made") / "out"
    return make_pelvis_cts(surfaces, folder, count=4, spacing_mm=5.0, progress=False)


def test_a_pelvis_becomes_cts_that_pass_the_check_and_say_that_they_are_simulated(made: MadeCTs) -> None:
    datalist = json.loads((Path(made.folder) / "datalist.json").read_text())
    assert made.items == {"training": 4, "validation": 0, "test": 0}
    assert datalist["simulated"] is True
    assert datalist["labels"] == labels_of(numbered=True)
    report = check(made.folder, progress=False)
    # some end below the vertebrae, which is what their empty masks are for
    assert all("empty" in problem for problem in report.problems)
    assert set(report.label_values) == {0, 122, 123, 124}


def test_their_masks_are_what_spine_trains_on(made: MadeCTs) -> None:
    values = set()
    for file in sorted((Path(made.folder) / "masks").iterdir()):
        mask, image = nib.load(file), nib.load(Path(made.folder) / "images" / file.name)
        assert mask.shape == image.shape
        np.testing.assert_allclose(mask.affine, image.affine)
        np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine), 5.0)
        merged = VertebraLabels()(np.asarray(mask.dataobj)[None])
        values.add(tuple(np.unique(merged)))
    assert values == {(0,), (0, 1)}


def test_the_same_seed_gives_the_same_voxels(surfaces: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 2), ("again", 2), ("other", 3)):
        make_pelvis_cts(surfaces, tmp_path / name, seed=seed, spacing_mm=5.0, progress=False)
    one, again, other = (
        np.asarray(nib.load(tmp_path / name / "images" / "pelvis7-001.nii.gz").dataobj)
        for name in ("one", "again", "other")
    )
    np.testing.assert_array_equal(one, again)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_bad_numbers_and_places_are_refused_and_nothing_is_left(surfaces: Path, tmp_path: Path) -> None:
    for wrong in ({"count": 0}, {"seed": -1}, {"spacing_mm": 0.1}, {"spacing_mm": float("nan")}):
        with pytest.raises(ConfigError, match=r"count ≥ 1, seed ≥ 0 and 0\.5 to 5 mm are needed"):
            make_pelvis_cts(surfaces, tmp_path / "out", progress=False, **wrong)
    with pytest.raises(InputError, match="no such folder; give one with surfaces in left/, right/ and sacrum/"):
        make_pelvis_cts(tmp_path / "gone", tmp_path / "out", progress=False)
    with pytest.raises(InputError, match="no surfaces left"):
        make_pelvis_cts(tmp_path, tmp_path / "out", progress=False)
    for part in ("left", "right", "sacrum"):
        closed_surfaces.write_vtk(tmp_path / "in" / part / f"{part}1.vtk", *closed_surfaces.box((0, 0, 0), (1, 1, 1)))
    with pytest.raises(InputError, match=r"sacrum1\.vtk: not a pelvis with its hip bones \(no hip socket"):
        make_pelvis_cts(tmp_path / "in", tmp_path / "out", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_verb_says_what_it_made(surfaces: Path, tmp_path: Path, radseg: Callable[..., Any]) -> None:
    ended = radseg("data", "ct", surfaces, "-o", tmp_path / "out", "--spacing", "5")
    assert ended.code == 0
    assert "1 training, 0 validation, 0 test; the masks number L3 to L5" in ended.out
    assert (tmp_path / "out" / "images" / "pelvis7-001.nii.gz").is_file()


def test_a_real_pelvis_has_its_sacrum_below_the_vertebrae_and_hip_bones_beside_it(
    real_data: Path, tmp_path: Path
) -> None:
    meshes = real_data / "pelvis" / "meshes"
    if not meshes.is_dir():
        pytest.skip("the pelvis surfaces (../shared/data/pelvis/meshes) are not here")
    for part, name in (("left", "LeftHip"), ("right", "RightHip"), ("sacrum", "Sacrum")):
        (tmp_path / "meshes" / part).mkdir(parents=True)
        (tmp_path / "meshes" / part / f"{name}10.vtk.gz").symlink_to(meshes / part / f"{name}10.vtk.gz")
    make_pelvis_cts(tmp_path / "meshes", tmp_path / "out", seed=0, count=2, spacing_mm=2.5, progress=False)
    with_spine = 0
    for file in sorted((tmp_path / "out" / "images").iterdir()):
        vertebrae = np.asarray(nib.load(tmp_path / "out" / "masks" / file.name).dataobj) > 0
        bone = (np.asarray(nib.load(file).dataobj) > 250) & ~vertebrae
        assert 2.5 * np.ptp(np.flatnonzero(bone.any(axis=(1, 2)))) > 200
        if vertebrae.any():
            with_spine += 1
            lowest = int(np.flatnonzero(vertebrae.any(axis=(0, 1))).min())
            assert bone[..., :lowest].sum() > bone[..., lowest:].sum()
            assert vertebrae.sum() * 2.5**3 > 60_000
    assert with_spine == 1
