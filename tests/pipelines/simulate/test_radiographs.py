"""The verb `data drr`: a dataset of simulated X-rays that can be trained on, the same for the same seed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.datasets import check
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.io import write_mask
from radseg.pipelines.simulate.radiographs import make_radiographs


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A made CT: an oval body with two lungs, a spine behind, and a table below; and its labels 10 and 14."""
    import nibabel as nib

    x, y, z = np.meshgrid(np.arange(64) - 32, np.arange(50) - 25, np.arange(32) - 16, indexing="ij")
    hu = np.full(x.shape, -1000.0)
    hu[(x / 26) ** 2 + (y / 17) ** 2 < 1] = 40
    label = np.zeros(x.shape, np.uint8)
    for side, value in ((-1, 10), (1, 14)):
        label[((x - side * 12) / 9) ** 2 + (y / 12) ** 2 + (z / 11) ** 2 < 1] = value
    hu[label > 0] = -850
    hu[(np.abs(x) < 4) & (np.abs(y + 12) < 4)] = 500
    hu[y == -24] = 200
    label[(np.abs(x) < 4) & (np.abs(y + 12) < 4)] = 30
    affine = np.diag([5.0, 5.0, 8.0, 1.0])
    folder = tmp_path_factory.mktemp("chest")
    nib.save(nib.Nifti1Image(hu.astype(np.float32), affine), folder / "ct.nii.gz")
    write_mask(folder / "labels.nii.gz", label, affine)
    return folder / "ct.nii.gz", folder / "labels.nii.gz"


def pictures(folder: Path, of: str) -> list[np.ndarray]:
    return [np.asarray(Image.open(file)) for file in sorted((folder / of).iterdir())]


def test_a_chest_ct_becomes_x_rays_with_dark_lungs_in_their_masks(chest: tuple[Path, Path], tmp_path: Path) -> None:
    ct, labels = chest
    made = make_radiographs(ct, tmp_path / "out", mask=labels, labels=[10, 14], count=3, size=96, progress=False)
    assert made.items == {"training": 3, "validation": 0, "test": 0}
    for image, mask in zip(pictures(made.folder, "images"), pictures(made.folder, "masks"), strict=True):
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == mask.shape
        assert max(image.shape) == 96
        assert set(np.unique(mask)) == {0, 255}
        assert 0.1 < (mask > 0).mean() < 0.7
        core = (mask > 0) & (np.roll(mask, 6, 1) > 0) & (np.roll(mask, -6, 1) > 0)
        spine = image[image.shape[0] // 2].max()
        assert np.median(image[core]) < 0.6 * spine


def test_the_datalist_says_that_it_is_simulated_and_passes_the_check(chest: tuple[Path, Path], tmp_path: Path) -> None:
    ct, labels = chest
    made = make_radiographs(ct, tmp_path / "out", mask=labels, labels=[10, 14], count=2, size=48, progress=False)
    datalist = json.loads((made.folder / "datalist.json").read_text())
    assert datalist["simulated"] is True
    assert "simulated" in datalist["name"]
    assert {item["patient"] for item in datalist["training"]} == {"ct"}
    report = check(made.folder, progress=False)
    assert report.problems == []
    assert report.items["training"] == 2


def test_the_same_seed_gives_the_same_files_and_another_doesnt(chest: tuple[Path, Path], tmp_path: Path) -> None:
    ct, labels = chest

    def files(name: str, seed: int) -> list[bytes]:
        folder = make_radiographs(ct, tmp_path / name, mask=labels, count=2, seed=seed, size=40, progress=False).folder
        return [file.read_bytes() for file in sorted(folder.glob("*/*.png"))]

    first = files("first", 3)
    assert first == files("again", 3)
    assert first != files("other", 4)
    assert len(set(first)) == 4


def test_nothing_is_left_when_it_fails(chest: tuple[Path, Path], tmp_path: Path) -> None:
    ct, labels = chest
    with pytest.raises(InputError, match="no voxel of label 99"):
        make_radiographs(ct, tmp_path / "out", mask=labels, labels=[99], progress=False)
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_is_one_line(chest: tuple[Path, Path], tmp_path: Path) -> None:
    ct, labels = chest
    with pytest.raises(ConfigError, match="--mask"):
        make_radiographs(ct, tmp_path / "out", progress=False)
    with pytest.raises(ConfigError, match="count"):
        make_radiographs(ct, tmp_path / "out", mask=labels, count=0, progress=False)
    with pytest.raises(ConfigError, match="kind"):
        make_radiographs(ct, tmp_path / "out", mask=labels, kind="skull", progress=False)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="0 is the background"):
        make_radiographs(ct, tmp_path / "out", mask=labels, labels=[0, 10], progress=False)
    with pytest.raises(ConfigError, match="device 'cuba' is not known"):
        make_radiographs(ct, tmp_path / "out", mask=labels, device="cuba", progress=False)
    with pytest.raises(ConfigError, match="leave out --mask and --labels"):
        make_radiographs(tmp_path, tmp_path / "out", kind="pelvis", mask=labels, progress=False)
    with pytest.raises(InputError, match="no such file"):
        make_radiographs(tmp_path / "gone.nii", tmp_path / "out", mask=labels, progress=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(InputError, match="isn't an empty folder"):
        make_radiographs(ct, tmp_path / "full", mask=labels, progress=False)


def test_a_folder_without_whole_pelvises_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meshes" / "sacrum").mkdir(parents=True)
    with pytest.raises(InputError, match="no surfaces"):
        make_radiographs(tmp_path / "meshes", tmp_path / "out", progress=False)
    (tmp_path / "meshes" / "sacrum" / "Sacrum7.vtk").touch()
    with pytest.raises(InputError, match="pelvis 7 has no surface in right"):
        make_radiographs(tmp_path / "meshes", tmp_path / "out", progress=False)


def test_two_surfaces_of_one_bone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "meshes" / "sacrum").mkdir(parents=True)
    for name in ("Sacrum7.vtk", "Sacrum7.vtk.gz"):
        (tmp_path / "meshes" / "sacrum" / name).touch()
    with pytest.raises(InputError, match=r"Sacrum7.vtk.gz: Sacrum7.vtk is sacrum 7 too; keep one"):
        make_radiographs(tmp_path / "meshes", tmp_path / "out", progress=False)


def test_what_is_no_chest_ct_is_refused(tmp_path: Path) -> None:
    import nibabel as nib

    slab, lungs = np.full((20, 20, 3), 40.0, np.float32), np.zeros((20, 20, 3), np.uint8)
    slab[8:12, 8:12] = -850
    lungs[8:12, 8:12] = 1
    affine = np.diag([15.0, 15.0, 5.0, 1.0])
    nib.save(nib.Nifti1Image(slab, affine), tmp_path / "ct.nii.gz")
    write_mask(tmp_path / "lungs.nii.gz", lungs, affine)
    with pytest.raises(InputError, match="reaches over 15 mm along the body, 100 mm are needed"):
        make_radiographs(tmp_path / "ct.nii.gz", tmp_path / "out", mask=tmp_path / "lungs.nii.gz", progress=False)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "picture.png")
    Image.fromarray(255 * np.eye(16, dtype=np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="is a picture"):
        make_radiographs(tmp_path / "picture.png", tmp_path / "out", mask=tmp_path / "mask.png", progress=False)
    assert not (tmp_path / "out").exists()


def test_bones_in_other_units_are_refused(tmp_path: Path) -> None:
    corners = "0 0 0  1 0 0  0 1 0  0 0 1"
    surface = f"# vtk DataFile Version 3.0\nmade\nASCII\nDATASET POLYDATA\nPOINTS 4 float\n{corners}\n"
    surface += "POLYGONS 4 16\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
    for part in ("left", "right", "sacrum"):
        (tmp_path / "meshes" / part).mkdir(parents=True)
        (tmp_path / "meshes" / part / f"{part}1.vtk").write_text(surface)
    with pytest.raises(InputError, match=r"sacrum1.vtk: not a pelvis with its hip bones \(no hip socket"):
        make_radiographs(tmp_path / "meshes", tmp_path / "out", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["meshes"]


def test_real_pelvises_become_x_rays_right_way_round(real_data: Path, tmp_path: Path) -> None:
    meshes = real_data / "pelvis" / "meshes"
    if not meshes.is_dir():
        pytest.skip("the pelvis surfaces (../shared/data/pelvis/meshes) are not here")
    for part, name in (("left", "LeftHip"), ("right", "RightHip"), ("sacrum", "Sacrum")):
        (tmp_path / "meshes" / part).mkdir(parents=True)
        for number in (3, 10, 33):
            (tmp_path / "meshes" / part / f"{name}{number}.vtk.gz").symlink_to(meshes / part / f"{name}{number}.vtk.gz")
    made = make_radiographs(tmp_path / "meshes", tmp_path / "out", size=128, progress=False)
    assert made.items == {"training": 1, "validation": 1, "test": 1}
    for image, mask in zip(pictures(made.folder, "images"), pictures(made.folder, "masks"), strict=True):
        bones = mask > 0
        rows = np.flatnonzero(bones.any(axis=1))
        upper, lower = bones[rows[0] : rows[len(rows) // 3]], bones[rows[-len(rows) // 4] :]
        # iliac wings up: the pelvis is wider above than below
        assert np.ptp(np.flatnonzero(upper.any(axis=0))) > 1.2 * np.ptp(np.flatnonzero(lower.any(axis=0)))
        assert 0.08 < bones.mean() < 0.6
        ring = ~bones & (np.roll(bones, 5, 0) | np.roll(bones, -5, 0))
        assert image[bones].mean() > image[ring].mean()


def test_the_real_chest_ct_has_the_heart_on_the_images_right(real_data: Path) -> None:
    from radseg.pipelines.io import load_mask
    from radseg.transforms.radiography.cone_beam import ConeBeam
    from radseg.transforms.radiography.line_integrals import projected_mask

    file = real_data / "chest_ct" / "structures.nii.gz"
    if not file.is_file():
        pytest.skip("the chest CT (../shared/data/chest_ct) is not here")
    structures = load_mask(file)
    middle = structures.affine_ras @ [255.5, 255.5, 66, 1]
    beam = ConeBeam(1800, 1600, (middle[0], middle[1], middle[2]), 64, 64, 6.0, "PA")
    left, right, liver = (
        np.argwhere(projected_mask(np.isin(structures.array, labels), structures.affine_ras, beam).numpy()).mean(axis=0)
        for labels in ([10, 11], [12, 13, 14], [5])
    )
    assert right[1] < 31 < left[1]
    assert liver[1] < 31
    assert liver[0] > right[0]
