"""The layouts of volumes: the two that list their labels, and the two whose vertebrae are merged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from radseg.pipelines.errors import InputError
from radseg.pipelines.import_dataset import import_dataset
from radseg.pipelines.layouts import layout_named
from radseg.transforms.vertebrae import VertebraLabels

Made = Callable[[str], Path]


def _edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize("layout", ["msd", "nnunet"])
def test_labels_stay_and_their_names_are_recorded(layout: str, made: Made, tmp_path: Path) -> None:
    report = import_dataset(layout, made(layout), tmp_path / "out", progress=False)
    content = json.loads(report.datalist.read_text())
    assert content["labels"]["0"] == "background"
    assert content["labels"]["1"] == "spleen"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["datalist.json"]
    assert [warning for warning in report.warnings if warning.startswith("1 images") and "left out" in warning]


@pytest.mark.parametrize(("layout", "key"), [("msd", "modality"), ("nnunet", "channel_names")])
def test_several_channels_are_refused(layout: str, key: str, made: Made) -> None:
    source = made(layout)
    _edit(source / "dataset.json", **{key: {"0": "FLAIR", "1": "T1w"}})
    with pytest.raises(InputError, match=r"2 channels \(FLAIR, T1w\); only"):
        layout_named(layout).items(source)


def test_a_second_channel_file_is_refused_whatever_the_json_says(made: Made) -> None:
    source = made("nnunet")
    (source / "imagesTr" / "spleen_000_0001.nii.gz").touch()
    with pytest.raises(InputError, match=r"spleen_000_0001\.nii\.gz: a second channel"):
        layout_named("nnunet").items(source)


def test_another_file_ending_is_followed(made: Made) -> None:
    source = made("nnunet")
    for file in [*(source / "imagesTr").iterdir(), *(source / "labelsTr").iterdir()]:
        file.rename(file.with_name(file.name.replace(".nii.gz", ".nrrd")))
    with pytest.raises(InputError, match="check file_ending"):
        layout_named("nnunet").items(source)
    _edit(source / "dataset.json", file_ending=".nrrd")
    assert len(layout_named("nnunet").items(source).items) == 10


@pytest.mark.parametrize("layout", ["msd", "nnunet"])
@pytest.mark.parametrize(("text", "message"), [("{", "not readable as JSON"), ("[]", "holds no JSON object")])
def test_a_malformed_json_is_told_in_one_line(layout: str, text: str, message: str, made: Made) -> None:
    source = made(layout)
    (source / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=message):
        layout_named(layout).items(source)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {}}, "'training' isn't a JSON list"),
        ({"training": []}, "lists no image with a label"),
        ({"training": [{"label": "x"}]}, "needs an 'image'"),
        ({"training": [{"image": "imagesTr/absent.nii.gz"}]}, "image imagesTr/absent.nii.gz isn't there"),
        ({"labels": ["a"]}, "'labels' isn't a JSON object"),
    ],
)
def test_a_malformed_decathlon_list_is_told_in_one_line(made: Made, changes: dict[str, Any], message: str) -> None:
    source = made("msd")
    _edit(source / "dataset.json", **changes)
    with pytest.raises(InputError, match=message):
        layout_named("msd").items(source)


def test_images_whose_label_is_missing_are_left_out(made: Made) -> None:
    for layout in ("msd", "nnunet"):
        source = made(layout)
        sorted((source / "labelsTr").iterdir())[0].unlink()
        found = layout_named(layout).items(source)
        assert len(found.items) == 9
        assert found.warnings[0].startswith("1 images without label left out: spleen_0")


def _import(layout: str, source: Path, tmp_path: Path, fractures: str | None = None, **options: Any) -> Any:
    if fractures is not None:
        (tmp_path / "fractures.csv").write_text("case,vertebra\n" + fractures)
        options["fractures"] = tmp_path / "fractures.csv"
    return import_dataset(layout, source, tmp_path / "out", progress=False, **options)


def _slabs(file: Path) -> list[int]:
    """The value of each slab of a miniature's mask."""
    return [int(value) for value in np.asarray(nib.load(file).dataobj)[0, 0]]


def test_vertebrae_become_one_and_fractured_ones_two(made: Made, tmp_path: Path) -> None:
    _import("verse", made("verse"), tmp_path, "sub-verse004,L1\nsub-verse014_split-verse254,19\nsub-verse012,t13\n")
    labels = tmp_path / "out" / "labels"
    assert _slabs(labels / "sub-verse004_dir-ax.nii.gz") == [1, 2, 1, 0, 0, 0, 0, 0]  # T12 L1 T13, no sacrum
    assert _slabs(labels / "sub-verse005_dir-ax.nii.gz")[:3] == [1, 1, 1]
    assert _slabs(labels / "sub-verse012_dir-ax.nii.gz")[:3] == [1, 1, 2]
    assert _slabs(labels / "sub-verse014_split-verse253.nii.gz")[:3] == [1, 1, 1]
    assert _slabs(labels / "sub-verse014_split-verse254.nii.gz")[:3] == [2, 1, 1]


def test_vertebrae_may_keep_their_numbers_for_simulated_fractures(made: Made, tmp_path: Path) -> None:
    _import("verse", made("verse"), tmp_path, "sub-verse004,L1\n", numbered=True)
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert (content["labels"]["120"], content["labels"]["220"]) == ("L1", "L1, fractured")
    label = tmp_path / "out" / "labels" / "sub-verse004_dir-ax.nii.gz"
    assert _slabs(label) == [119, 220, 128, 0, 0, 0, 0, 0]  # T12 L1 T13
    read_by_the_bundle = VertebraLabels()(torch.from_numpy(np.asarray(nib.load(label).dataobj))[None])
    assert read_by_the_bundle[0, 0, 0].tolist() == [1, 2, 1, 0, 0, 0, 0, 0]


def test_parts_may_keep_their_numbers_too(made: Made, tmp_path: Path) -> None:
    _import("totalsegmentator", made("totalsegmentator"), tmp_path, "s0003,L1\n", numbered=True)
    assert _slabs(tmp_path / "out" / "labels" / "s0003.nii.gz") == [119, 220, 0, 0, 0, 0, 0, 0]
    assert _slabs(tmp_path / "out" / "labels" / "s0002.nii.gz") == [119, 120, 0, 0, 0, 0, 0, 0]


def test_masks_of_volumes_get_the_labels_of_a_table(volumes: Path, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("value,label\n27,124\n28,123\n")
    report = _import("folder-of-pairs", volumes, tmp_path, label_map=tmp_path / "map.csv", folds=2, ratios="100/0")
    assert sum(report.images.values()) == 2
    mask = nib.load(tmp_path / "out" / "labels" / "1.nii.gz")
    assert np.asarray(mask.dataobj)[0, 0].tolist() == [0, 0, 124, 123, 0, 0, 0, 0]
    assert np.array_equal(mask.affine, nib.load(volumes / "masks" / "1.nii.gz").affine)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("value,name\n1,x\n", "no column 'label'"),
        ("value,label\n1,x\n", "label 'x' isn't a whole number"),
        ("value,label\n300,1\n", "value '300' isn't a whole number from 0 to 255"),
        ("value,label\n1,1\n1,2\n", "value 1 has two labels"),
    ],
)
def test_a_table_of_labels_that_makes_no_sense_is_told(volumes: Path, tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "map.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        _import("folder-of-pairs", volumes, tmp_path, label_map=tmp_path / "map.csv")
    assert not (tmp_path / "out").exists()


def test_pictures_keep_their_values(made: Made, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("value,label\n1,2\n")
    with pytest.raises(InputError, match="only NIfTI masks can be given other labels"):
        _import("folder-of-pairs", made("folder-of-pairs"), tmp_path, label_map=tmp_path / "map.csv")


def test_a_merged_label_keeps_the_place_of_its_mask(made: Made, tmp_path: Path) -> None:
    source = made("verse")
    report = _import("verse", source, tmp_path)
    mask = nib.load(next(source.glob("*/derivatives/sub-verse004/*.nii.gz")))
    merged = nib.load(tmp_path / "out" / "labels" / "sub-verse004_dir-ax.nii.gz")
    assert merged.get_data_dtype() == np.uint8
    assert merged.shape == mask.shape
    for field in ("sform_code", "qform_code", "srow_x", "quatern_b", "qoffset_x", "pixdim"):
        assert np.array_equal(merged.header[field], mask.header[field])
    assert [warning for warning in report.warnings if "no table of fractures" in warning]


def test_scans_of_one_subject_are_one_patient(made: Made) -> None:
    found = layout_named("verse").items(made("verse"))
    assert [item.patient for item in found.items if "verse25" in item.name] == ["sub-verse014"] * 2


@pytest.mark.parametrize("layout", ["verse", "totalsegmentator"])
def test_the_published_split_is_taken_when_asked_for(layout: str, made: Made, tmp_path: Path) -> None:
    source = made(layout)
    report = _import(layout, source, tmp_path, split="published")
    assert report.images == {"training": 7, "validation": 1, "test": 3 if layout == "verse" else 2}
    assert report.made == "as published"
    other = import_dataset(layout, source, tmp_path / "own", progress=False)
    assert other.warnings[-1].startswith(("no vertebra", "the data set has a split of its own"))


def test_one_part_of_verse_is_imported_alone(made: Made) -> None:
    source = made("verse") / "dataset-01training"
    assert len(layout_named("verse").items(source).items) == 7


def test_a_patient_published_on_both_sides_is_refused(made: Made, tmp_path: Path) -> None:
    source = made("verse")
    for kind in ("rawdata", "derivatives"):
        folder = source / "dataset-03test" / kind / "sub-verse014"
        (source / "dataset-01training" / kind / "sub-verse014").mkdir()
        for file in folder.glob("*verse253*"):
            file.rename(source / "dataset-01training" / kind / "sub-verse014" / file.name)
    with pytest.raises(InputError, match="sub-verse014 is published in training and in test"):
        _import("verse", source, tmp_path, split="published")
    assert not (tmp_path / "out").exists()


def test_parts_are_united_without_the_sacrum(made: Made, tmp_path: Path) -> None:
    report = _import("totalsegmentator", made("totalsegmentator"), tmp_path, "s0003,L1\ns0004,C2\ns9999,L1\n")
    labels = tmp_path / "out" / "labels"
    assert _slabs(labels / "s0003.nii.gz") == [1, 2, 0, 0, 0, 0, 0, 0]
    assert _slabs(labels / "s0002.nii.gz") == [1, 1, 0, 0, 0, 0, 0, 0]
    assert "1 cases in the table of fractures aren't in the data: s9999" in report.warnings
    assert "C2 is listed as fractured but isn't in the mask: s0004" in report.warnings


def test_a_case_without_a_vertebra_is_told(made: Made, tmp_path: Path) -> None:
    source = made("totalsegmentator")
    for part in ("vertebrae_T12", "vertebrae_L1"):
        file = source / "s0005" / "segmentations" / f"{part}.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros((6, 7, 8), np.uint8), nib.load(file).affine), file)
    assert "no vertebra in the mask: s0005" in _import("totalsegmentator", source, tmp_path).warnings


@pytest.mark.parametrize(
    ("fractures", "message"),
    [("sub-verse004,L9\n", "vertebra 'L9' is unknown"), ("sub-verse004,26\n", "vertebra '26'"), (",L1\n", "no case")],
)
def test_a_fracture_that_makes_no_sense_is_told(made: Made, tmp_path: Path, fractures: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _import("verse", made("verse"), tmp_path, fractures)


def test_a_damaged_or_foreign_mask_ends_the_import_and_leaves_nothing(made: Made, tmp_path: Path) -> None:
    source = made("verse")
    mask = next(source.glob("*/derivatives/sub-verse011/*.nii.gz"))
    nib.save(nib.Nifti1Image(np.full((6, 7, 8), 99, np.uint8), nib.load(mask).affine), mask)
    with pytest.raises(InputError, match=r"sub-verse011.*: holds values other than the vertebrae 1 to 28"):
        _import("verse", source, tmp_path)
    mask.write_bytes(mask.read_bytes()[:60])
    with pytest.raises(InputError, match="damaged or cut-off NIfTI"):
        _import("verse", source, tmp_path)
    assert not (tmp_path / "out").exists()


def test_parts_on_two_grids_are_refused(made: Made, tmp_path: Path) -> None:
    source = made("totalsegmentator")
    file = source / "s0005" / "segmentations" / "vertebrae_T12.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((6, 7, 8), np.uint8), np.eye(4)), file)
    with pytest.raises(InputError, match="lies on another grid than"):
        _import("totalsegmentator", source, tmp_path)


def test_subjects_that_lack_something_are_left_out(made: Made) -> None:
    source = made("totalsegmentator")
    (source / "s0001" / "ct.nii.gz").unlink()
    for part in (source / "s0002" / "segmentations").glob("vertebrae_[TL]*"):
        part.unlink()
    found = layout_named("totalsegmentator").items(source)
    assert len(found.items) == 8
    assert found.warnings[:2] == (
        "1 subjects without masks of vertebrae left out: s0002",
        "1 subjects without ct.nii.gz left out: s0001",
    )


def test_an_unknown_word_in_the_published_split_is_told(made: Made) -> None:
    source = made("totalsegmentator")
    (source / "meta.csv").write_text("image_id;split\ns0001;tset\n")
    with pytest.raises(InputError, match="split 'tset' of s0001 is unknown"):
        layout_named("totalsegmentator").items(source)


def test_a_real_spine_ct_is_merged(real_data: Path, tmp_path: Path) -> None:
    real, source = real_data / "spine_ct" / "verse014", tmp_path / "verse"
    names = {"rawdata": ("ct", "ct"), "derivatives": ("vertebrae", "seg-vert_msk")}
    for number in (1, 2, 3):  # three subjects, so that each side gets one
        for kind, (file, suffix) in names.items():
            subject = f"sub-verse{number:03d}"
            (source / kind / subject).mkdir(parents=True)
            (source / kind / subject / f"{subject}_dir-sag_{suffix}.nii.gz").symlink_to(real / f"{file}.nii.gz")
    _import("verse", source, tmp_path, "sub-verse002,L2\n")
    truth = np.asarray(nib.load(real / "vertebrae.nii.gz").dataobj)
    merged = np.asarray(nib.load(tmp_path / "out" / "labels" / "sub-verse002_dir-sag.nii.gz").dataobj)
    assert np.array_equal(merged == 2, truth == 21)
    assert np.array_equal(merged > 0, truth > 0)
