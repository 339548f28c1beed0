"""What is no chest, no spine, no HU or no radiograph is said to be so, in words and with a number."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from radseg.bundles import root
from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.io import Volume, load_volume
from radseg.pipelines.plausibility import Plausibility
from radseg.pipelines.plausibility.chest_likeness import chest_likeness
from radseg.pipelines.plausibility.seen import Seen

SAMPLES = Path(__file__).parents[3] / "sample_data"
CELL = np.diag([3.0, 3.0, 3.0, 1.0])


def checks_of(bundle: str) -> Plausibility:
    """A bundle's own, as its inference.json has them."""
    parser = ConfigParser({"plausibility": read_json(Path(root(bundle)) / "inference.json")["plausibility"]})
    made: Plausibility = parser.get_parsed_content("plausibility")
    return made


def ball(shape: tuple[int, int, int], radius: float) -> npt.NDArray[np.float64]:
    """Distance from the middle over a radius in voxels."""
    away = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    return np.asarray(np.sqrt((away**2).sum(axis=0)) / radius)


def head() -> Volume:
    """Skin, skull and brain, 200 mm across, with two small sinuses."""
    hu = np.full((80, 80, 70), -1000, np.float32)
    away = ball((80, 80, 70), 32)
    for radius, value in ((1.0, 40), (0.94, 900), (0.86, 35)):
        hu[away < radius] = value
    hu[36:44, 62:67, 20:26] = -950
    return Volume(hu, CELL, "HU")


def abdomen() -> Volume:
    """A trunk with gas in the bowel."""
    hu = np.full((120, 90, 90), -1000, np.float32)
    i, j, _ = np.indices(hu.shape)
    hu[((i - 60) / 52) ** 2 + ((j - 45) / 36) ** 2 < 1] = 40
    hu[40:75, 60:70, 30:60] = -980
    return Volume(hu, CELL, "HU")


@pytest.mark.parametrize("image", [head(), abdomen()], ids=["head", "abdomen"])
def test_what_is_no_chest_is_flagged_by_the_air_in_it(image: Volume) -> None:
    (flag,) = checks_of("lung_ct")(image)
    assert flag.startswith("this doesn't look like a chest: no lungs found (air inside the body 0.")
    assert flag.endswith("a chest has 15–60 %)")


def test_a_head_is_no_spine() -> None:
    (flag,) = checks_of("spine")(head())
    assert flag.startswith("this doesn't look like a spine")


@pytest.mark.parametrize("bundle", ["lung_ct", "spine", "lung_xray", "pelvis_xray"])
def test_a_bundle_s_own_sample_data_are_plausible(bundle: str) -> None:
    checks = checks_of(bundle)
    for file in sorted((SAMPLES / bundle / "imagesTr").iterdir()):
        assert checks(load_volume(file, modality="DX" if "xray" in bundle else "CT"), [file]) == [], file.name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hu: np.clip(hu + 1024, 0, None), "RescaleIntercept"),
        (lambda hu: (hu > 0).astype(np.float32), "lie between 0 and 1; a mask"),
        (lambda hu: (hu + 1100) / 20, "a mask, a picture, or MR"),
        (lambda hu: np.abs(hu) * 9 + 2000, "soft tissue"),
    ],
    ids=["stored values", "mask", "8 bits", "MR"],
)
@pytest.mark.parametrize("bundle", ["lung_ct", "spine"])
def test_values_that_are_not_hu_are_the_only_thing_said(bundle: str, change: object, said: str) -> None:
    hu = load_volume(SAMPLES / "spine" / "imagesTr" / "spine04.nii.gz").array
    (flag,) = checks_of(bundle)(Volume(change(hu.astype(np.float32)), CELL, "HU"))  # type: ignore[operator]
    assert flag.startswith("the values don't look like HU")
    assert said in flag


def test_an_empty_table_is_no_patient() -> None:
    hu = np.full((60, 60, 60), -1000, np.float32)
    hu[10:50, 5:7, :] = 20
    (flag,) = checks_of("lung_ct")(Volume(hu, CELL, "HU"))
    assert "body" in flag


def test_sizes_that_no_patient_has_are_said() -> None:
    thick = Volume(head().array[:, :, ::5], np.diag([3.0, 3.0, 15.0, 1.0]), "HU")
    assert any("coarse" in flag for flag in checks_of("spine")(thick))
    mouse = Volume(head().array, np.diag([0.09, 0.09, 0.09, 1.0]), "HU")
    fine, small, *_ = checks_of("lung_ct")(mouse)
    assert "finer than those of a patient's CT" in fine
    assert "field of view is 7 × 7 × 6 mm" in small
    in_metres = Volume(head().array, np.diag([300.0, 300.0, 300.0, 1.0]), "HU")
    assert any("is the spacing right" in flag for flag in checks_of("lung_ct")(in_metres))


def test_a_single_slice_can_be_a_chest_and_says_nothing_of_the_spine() -> None:
    slice_of = load_volume(SAMPLES / "lung_ct" / "imagesTr" / "lung01.nii.gz")
    single = Volume(slice_of.array[:, :, 15:16], slice_of.affine_ras, "HU")
    assert checks_of("lung_ct")(single) == []
    assert not any("spine" in flag for flag in checks_of("spine")(single))


def test_a_colour_photo_of_an_x_ray_is_told_from_a_grey_picture_in_colour_channels(tmp_path: Path) -> None:
    source = sorted((SAMPLES / "lung_xray" / "imagesTr").iterdir())[0]
    with Image.open(source) as picture:
        grey = np.asarray(picture.convert("L"))
    for name, channels in (("grey", (1, 1, 1)), ("photo", (1, 0.75, 0.4))):
        rgb = np.stack([grey * factor for factor in channels], -1).astype(np.uint8)
        for ending in ("png", "jpg"):
            Image.fromarray(rgb).save(file := tmp_path / f"{name}.{ending}")
            flags = checks_of("lung_xray")(load_volume(file, modality="DX"), [file])
            assert any(flag.startswith("a colour picture") for flag in flags) == (name == "photo")


def test_radiographs_of_another_part_are_flagged() -> None:
    chest = sorted((SAMPLES / "lung_xray" / "imagesTr").iterdir())[0]
    pelvis = sorted((SAMPLES / "pelvis_xray" / "imagesTr").iterdir())[0]
    images = {file: load_volume(file, modality="DX") for file in (chest, pelvis)}
    (flag,) = checks_of("lung_xray")(images[pelvis], [pelvis])
    assert "no pair of dark lung fields" in flag
    (flag,) = checks_of("pelvis_xray")(images[chest], [chest])
    assert flag.startswith("this looks like a chest")
    assert any("axial CT slice" in flag for flag in checks_of("lung_ct")(images[chest], [chest]))


def test_chests_and_pelves_are_far_from_the_limits_between_them() -> None:
    for bundle, low, high in (("lung_xray", 0.5, 1.0), ("pelvis_xray", -1.0, 0.2)):
        for file in sorted((SAMPLES / bundle / "imagesTr").iterdir()):
            picture = Seen(load_volume(file, modality="DX"), [file]).picture
            assert picture is not None
            assert low < chest_likeness(picture) < high, file.name


def test_a_check_that_ends_is_the_last_word() -> None:
    not_hu = Volume(head().array * 0 + np.arange(70, dtype=np.float32), np.diag([3.0, 3.0, 15.0, 1.0]), "HU")
    assert len(checks_of("spine")(not_hu)) == 1
    assert Plausibility([])(not_hu) == []
