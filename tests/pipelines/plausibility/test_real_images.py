"""Real images: what belongs to a bundle passes, what doesn't is said."""

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from radseg.bundles import root
from radseg.pipelines.bundle_loader import read_json
from radseg.pipelines.cases import Case, discover
from radseg.pipelines.io import load_volume
from radseg.pipelines.plausibility import Plausibility


def checks_of(bundle: str) -> Plausibility:
    parser = ConfigParser({"plausibility": read_json(Path(root(bundle)) / "inference.json")["plausibility"]})
    made: Plausibility = parser.get_parsed_content("plausibility")
    return made


def flags_of(file: Path, *bundles: str) -> list[list[str]]:
    """What each bundle says of an image, which is read once."""
    image = load_volume(file, modality="DX" if "xray" in bundles[0] else "CT")
    return [checks_of(bundle)(image, [file]) for bundle in bundles]


def test_a_chest_ct_is_a_chest_and_has_a_spine(real_data: Path) -> None:
    assert flags_of(real_data / "chest_ct" / "ct.nii.gz", "lung_ct", "spine") == [[], []]


@pytest.mark.parametrize("name", ["verse014/ct", "totalsegmentator_example/example_ct"])
def test_a_lumbar_spine_and_an_abdomen_are_no_chest_but_have_a_spine(real_data: Path, name: str) -> None:
    (flag,), of_spine = flags_of(real_data / "spine_ct" / f"{name}.nii.gz", "lung_ct", "spine")
    assert "no lungs found" in flag
    assert of_spine == []


def test_series_without_hu_and_slices_of_heads_are_flagged(real_data: Path) -> None:
    said = []
    for name in ("cornerstone_testImages", "dicom2nifti_failing", "lungmask"):
        for case in discover([str(real_data / "dicom" / name)], modality="CT", min_slices=1, accepts=["dicom"]):
            if isinstance(case, Case):
                flags = checks_of("lung_ct")(load_volume(case), case.files)
                said.append((name, flags[0].split(":")[0] if flags else ""))
    assert said.count(("cornerstone_testImages", "the values don't look like HU")) == 1
    assert said.count(("cornerstone_testImages", "this doesn't look like a chest")) == 1
    assert said.count(("dicom2nifti_failing", "the values don't look like HU")) == 3
    assert said[-1] == ("lungmask", "")


def test_slices_of_chests_as_pictures_pass(real_data: Path) -> None:
    # one of every 40: all 946 passed when the threshold was set
    for file in sorted((real_data / "covid_ct" / "ct").glob("*.png"))[::40]:
        assert flags_of(file, "lung_ct") == [[]], file.name


def test_chest_x_rays_pass_and_are_no_slices(real_data: Path) -> None:
    files = sorted((real_data / "chest_xray" / "images").iterdir())[::6]
    found = [flags_of(file, "lung_xray", "pelvis_xray", "lung_ct") for file in files]
    assert not any(of_lung for of_lung, _, _ in found)
    assert all(of_pelvis for _, of_pelvis, _ in found)
    assert sum(bool(of_slice) for _, _, of_slice in found) >= 0.9 * len(files)


@pytest.mark.parametrize("ending", ["jpg", "dcm"])
def test_infants_pelves_are_no_chests(real_data: Path, ending: str) -> None:
    for file in sorted((real_data / "pelvis" / "infant_xray").glob(f"*.{ending}")):
        of_lung, of_pelvis = flags_of(file, "lung_xray", "pelvis_xray")
        assert any("no pair of dark lung fields" in flag for flag in of_lung), file.name
        assert of_pelvis == [], file.name
