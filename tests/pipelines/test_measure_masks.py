"""`radseg measure`: numbers from anyone's mask, and one line for what can't be measured."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import finding_factory
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.dicom_out.segmentation import segmentation
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.measure_masks import measure

AFFINE = np.diag([-1.0, 1, 2.5, 1])


def save(file: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), file)
    return file


@pytest.fixture
def lesion(tmp_path: Path) -> Path:
    mask = np.zeros((20, 12, 12), np.uint8)
    mask[12:16, 4:8, 3:6] = 1
    return save(tmp_path / "lesion.nii.gz", mask)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    hu = np.full((20, 12, 12), -850, np.int16)
    hu[12:16, 4:8, 3:6] = -500
    return save(tmp_path / "ct.nii.gz", hu)


def rows_of(measured: Any) -> dict[str, Any]:
    return {row["name"]: row["value"] for row in measured.rows}


def test_a_lesion_and_its_ct(lesion: Path, ct: Path) -> None:
    rows = rows_of(measure(lesion, ct, kind="lung_ct"))
    assert rows["lesion volume"] == pytest.approx(48 * 2.5 / 1000)
    assert rows["mean density of the lesion"] == -500
    assert rows["ground-glass share of the lesion"] == 100


def test_a_mask_alone_has_volumes_and_no_density(lesion: Path) -> None:
    rows = rows_of(measure(lesion, kind="lung_ct"))
    assert rows["lesion volume"] == pytest.approx(0.12)
    assert rows["mean density of the lesion"] is None


HEADERS = {
    ".mha": "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "ElementSpacing = 1 1 2.5\nDimSize = 20 12 12\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    ".nrrd": "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 20 12 12\n"
    "space directions: (1,0,0) (0,1,0) (0,0,2.5)\nspace origin: (0,0,0)\nencoding: raw\n\n",
}


@pytest.mark.parametrize("ending", HEADERS)
def test_other_formats_give_the_same_numbers(lesion: Path, ending: str, tmp_path: Path) -> None:
    mask = np.asarray(nib.load(lesion).dataobj).astype(np.uint8)
    file = tmp_path / f"lesion{ending}"
    file.write_bytes(HEADERS[ending].encode() + mask.tobytes(order="F"))
    assert rows_of(measure(file, kind="lung_ct"))["lesion volume"] == pytest.approx(0.12)


@pytest.mark.parametrize("value", [1, 255])
def test_fields_in_a_png_whatever_their_value(value: int, tmp_path: Path) -> None:
    mask = np.zeros((100, 80), np.uint8)
    mask[10:80, 5:35] = mask[10:80, 45:70] = value
    Image.fromarray(mask).save(tmp_path / "lungs.png")
    measured = measure(tmp_path / "lungs.png", kind="lung_xray")
    assert rows_of(measured)["left to right area"] == pytest.approx(25 / 30, abs=1e-4)
    assert measured.statistics["lungs"]["right"]["share_of_lungs"] == pytest.approx(30 / 55, abs=1e-4)


def test_a_radiograph_s_mask_may_be_nifti_and_has_an_area_then(tmp_path: Path) -> None:
    mask = np.zeros((80, 100, 1), np.uint8)
    mask[20:60, 20:60] = 7
    file = save(tmp_path / "pelvis.nii.gz", mask, np.diag([-0.5, -0.5, 1, 1]))
    measured = measure(file, kind="pelvis_xray")
    assert rows_of(measured)["area"] == pytest.approx(1600 * 0.25 / 100)
    assert "value 7 taken as pelvis" in measured.warnings


def test_json_and_csv_hold_every_number(lesion: Path, ct: Path, tmp_path: Path) -> None:
    for name in ("new/out.json", "out.csv"):
        measured = measure(lesion, ct, kind="lung_ct", output=tmp_path / name)
    written = json.loads((tmp_path / "new" / "out.json").read_text())
    assert written["measurements"] == measured.rows
    assert (written["measured_as"], written["mask"], written["image"]) == ("lung_ct", "lesion.nii.gz", "ct.nii.gz")
    with (tmp_path / "out.csv").open(newline="") as stream:
        assert [row["name"] for row in csv.DictReader(stream)] == [row["name"] for row in measured.rows]


def test_a_mask_on_another_grid_is_refused_in_one_line(
    lesion: Path, ct: Path, tmp_path: Path, radseg: Callable[..., Any]
) -> None:
    moved = save(tmp_path / "moved.nii.gz", np.asarray(nib.load(lesion).dataobj), AFFINE + np.eye(4)[:, [3, 1, 2, 0]])
    ended = radseg("measure", moved, ct, "--as", "lung_ct", "-o", tmp_path / "out.json")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert "resample" in ended.err
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [([1, 2, 3], "the values 1, 2, 3, where one, the lesion, is expected"), ([-3], "labels are 0 to 255"),
     ([1000], "labels are 0 to 255"), ([0.5], "between whole numbers")],
)  # fmt: skip
def test_values_that_are_no_labels_are_refused(values: list[float], said: str, tmp_path: Path) -> None:
    array = np.zeros((6, 6, 6), np.float32)
    array.flat[: len(values)] = values
    with pytest.raises(InputError, match=said):
        measure(save(tmp_path / "mask.nii.gz", array), kind="lung_ct")


def test_a_dicom_segmentation_is_measured_on_its_series(tmp_path: Path, radseg: Callable[..., Any]) -> None:
    mask = np.zeros((20, 12, 6), np.uint8)
    mask[12:16, 4:8, 2:4] = 1
    found = finding_factory.finding(
        finding_factory.only_case(finding_factory.series(tmp_path / "ct", mask.shape)), mask
    )
    segmentation(found).save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    measured = measure(tmp_path / "seg.dcm", tmp_path / "ct", kind="lung_ct")
    voxel_ml = 0.8 * 0.6 * 2.5 / 1000
    assert rows_of(measured)["lesion volume"] == pytest.approx(32 * voxel_ml, abs=1e-3)
    assert rows_of(measured)["mean density of the lesion"] == pytest.approx(2.5)  # the slice's number is its HU
    ended = radseg("measure", tmp_path / "seg.dcm", "--as", "lung_ct")
    assert ended.code == 1
    assert ended.err.endswith("needs the series that it was drawn on; give that as IMAGE\n")


def test_an_empty_mask_says_none(tmp_path: Path) -> None:
    empty = save(tmp_path / "empty.nii.gz", np.zeros((6, 6, 6), np.uint8))
    rows = rows_of(measure(empty, kind="lung_ct"))
    assert rows["lesion volume"] == 0
    assert "NaN" not in json.dumps(rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"kind": "liver"}, "choose one of spine"), ({"kind": "lung_ct", "top_level": "T5"}, "belongs to spine"),
     ({"kind": "spine", "lobes": "lobes.nii.gz"}, "belongs to lung_ct"),
     ({"kind": "lung_ct", "from_bottom": True}, "from_bottom belongs to spine"),
     ({"kind": "spine", "from_bottom": True, "top_level": "T5"}, "give one of the two"),
     ({"kind": "lung_ct", "output": "numbers.xlsx"}, "written as .json or .csv")],
)  # fmt: skip
def test_options_that_dont_fit_are_refused(options: dict[str, Any], said: str, lesion: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        measure(lesion, **options)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.nii\.gz: no such file"):
        measure(tmp_path / "nowhere.nii.gz", kind="lung_ct")


def test_the_command_prints_a_table(lesion: Path, ct: Path, tmp_path: Path, radseg: Callable[..., Any]) -> None:
    ended = radseg("measure", lesion, ct, "--as", "lung_ct", "-o", tmp_path / "out.csv")
    assert ended.code == 0
    assert "lesion volume" in ended.out
    assert "0.12 ml" in ended.out
    assert ended.out.rstrip().endswith("out.csv")
    assert radseg("measure", lesion, "--as", "lung_ct", "-q").out == ""


def test_wrong_usage_ends_with_2(lesion: Path, radseg: Callable[..., Any]) -> None:
    assert radseg("measure", lesion, "--as", "liver").code == 2
    assert radseg("measure", lesion, "--as", "lung_ct", "--top-level", "T5").code == 2


def test_an_empty_spine_has_no_vertebra(tmp_path: Path) -> None:
    empty = save(tmp_path / "spine.nii.gz", np.zeros((20, 20, 20), np.uint8))
    measured = measure(empty, kind="spine", top_level="L1")
    assert rows_of(measured)["vertebrae"] == 0
    assert measured.warnings


@pytest.mark.parametrize("option", ["--top-level", "--top_level"])
def test_the_top_level_is_written_either_way(option: str, tmp_path: Path, radseg: Callable[..., Any]) -> None:
    mask = np.zeros((30, 30, 22), np.uint8)
    mask[5:25, 5:25, 5:17] = 3
    file = save(tmp_path / "spine.nii.gz", mask, np.diag([-1.0, 1, 1, 1]))
    ended = radseg("measure", file, "--as", "spine", option, "T5")
    assert ended.code == 0
    assert "T5" in ended.out


def test_vertebrae_are_counted_from_the_bottom_where_that_is_asked_for(
    tmp_path: Path, radseg: Callable[..., Any]
) -> None:
    mask = np.zeros((30, 30, 60), np.uint8)
    for value, start in ((7, 5), (6, 25), (5, 45)):  # the highest has the lowest value
        mask[5:25, 5:25, start : start + 12] = value
    file = save(tmp_path / "spine.nii.gz", mask, np.diag([-1.0, 1, 1, 1]))
    names = {}
    for option in ((), ("--from-bottom",), ("--from_bottom",)):
        radseg("measure", file, "--as", "spine", *option, "-o", tmp_path / "out.json")
        rows = json.loads((tmp_path / "out.json").read_text())["measurements"]
        names[option] = {row["value"]: row["of"] for row in rows if row["name"] == "mask value"}
    assert names[()] == {5: "vertebra 1", 6: "vertebra 2", 7: "vertebra 3"}
    assert names["--from-bottom",] == names["--from_bottom",] == {5: "vertebra 3", 6: "vertebra 2", 7: "vertebra 1"}


def test_real_numbered_vertebrae_get_the_levels_that_were_told(real_data: Path) -> None:
    (image,) = (real_data / "spine_ct" / "verse014").glob("*ct.nii.gz")
    (mask,) = (real_data / "spine_ct" / "verse014").glob("vertebrae.nii.gz")
    measured = measure(mask, image, kind="spine", top_level="L1")  # values 20 to 24
    values = {row["of"]: row["value"] for row in measured.rows if row["name"] == "mask value"}
    assert values == {"L1": 20, "L2": 21, "L3": 22, "L4": 23, "L5": 24}
