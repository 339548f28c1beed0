"""The layouts of pictures: pelvic X-rays, chest X-rays, CT slices, and folders of pairs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts import Found, layout_named

Made = Callable[[str], Path]


def _patients(found: Found) -> dict[str, str]:
    return {item.name: item.patient for item in found.items}


def test_x_rays_nobody_has_drawn_are_left_out_and_said(made: Made) -> None:
    found = layout_named("pxr150").items(made("pxr150"))
    assert len(set(_patients(found).values())) == 10
    assert found.warnings == ("1 images without mask left out: 149.png",)


def test_pxr150_masks_may_lie_in_a_folder_of_another_name(made: Made) -> None:
    source = made("pxr150")
    (source / "masks").rename(source / "drawn")
    assert len(layout_named("pxr150").items(source, labels="drawn").items) == 10


def test_only_covid_is_taken_unless_classes_are_named(made: Made) -> None:
    source, layout = made("covid-radiography"), layout_named("covid-radiography")
    found = layout.items(source)
    assert {item.image.parts[-3] for item in found.items} == {"COVID"}
    assert "names no patients" in found.warnings[-1]
    assert len(layout.items(source, classes="COVID, Viral Pneumonia").items) == 20
    with pytest.raises(InputError, match="class 'Covid-19' is unknown; did you mean 'COVID'"):
        layout.items(source, classes="Covid-19")


def test_patients_of_ct_slices_are_read_from_their_names(made: Made) -> None:
    found = layout_named("kaggle-covid-ct").items(made("kaggle-covid-ct"))
    patients = _patients(found)
    assert patients["Jun_coronacases_case1_11"] == patients["Jun_coronacases_case1_119"] == "coronacases_case1"
    assert patients["Jun_coronacases_case10_11"] == "coronacases_case10"
    assert patients["Jun_radiopaedia_10_85902_1_case11_4"] == patients["Jun_radiopaedia_10_85902_3_case13_5"]
    assert patients["Jun_radiopaedia_14_85914_0_case13_46"] != patients["Jun_radiopaedia_10_85902_3_case13_5"]
    assert patients["Morozov_study_0255_7"] == "Morozov_study_0255"
    assert patients["bjorke_1"] == patients["bjorke_96"]
    assert [warning for warning in found.warnings if "3 slices named bjorke_*" in warning]


def test_a_slice_of_unknown_name_is_its_own_patient_with_a_warning(made: Made) -> None:
    source = made("kaggle-covid-ct")
    for folder in ("frames", "masks"):
        shutil.copy(source / folder / "bjorke_1.png", source / folder / "mine_7.png")
    found = layout_named("kaggle-covid-ct").items(source)
    assert _patients(found)["mine_7"] == "mine_7"
    assert "1 names tell no patient and count as a patient each: mine_7.png" in found.warnings[0]


def test_same_names_in_two_folders_stay_two_patients(made: Made) -> None:
    found = layout_named("folder-of-pairs").items(made("folder-of-pairs"))
    assert len({item.patient for item in found.items}) == len(found.items) == 10
    assert "no patients were named" in found.warnings[0]


@pytest.mark.parametrize(
    ("pattern", "patient"), [(r"p\d+", "p3"), (r"([ab])/p\d", "b"), (r"(x)?(?P<patient>p\d)", "p3")]
)
def test_patients_by_pattern(made: Made, pattern: str, patient: str) -> None:
    found = layout_named("folder-of-pairs").items(made("folder-of-pairs"), patient_pattern=pattern)
    assert [item.patient for item in found.items if item.image.parts[-2:] == ("b", "p3_1.png")] == [patient]
    assert found.warnings == ()


def test_patients_by_table(made: Made, tmp_path: Path) -> None:
    source, table = made("folder-of-pairs"), tmp_path / "patients.csv"
    table.write_text("image;patient\na/p0_1.png;anna\nb/p0_1;bert\np1_1.png;carl\n", encoding="utf-8-sig")
    found = layout_named("folder-of-pairs").items(source, patients=table)
    assert [item.patient for item in found.items][:2] == ["anna", "carl"]
    assert {item.patient for item in found.items if item.name == "p1_1"} == {"carl"}
    assert "6 images have no patient" in found.warnings[0]


def test_the_columns_of_a_patients_table_may_have_other_names(made: Made, tmp_path: Path) -> None:
    source, table = made("folder-of-pairs"), tmp_path / "volumes.csv"
    table.write_text("slice,volume,orientation\np0_1,v1,up\n")
    found = layout_named("folder-of-pairs").items(source, patients=f"{table}:slice:volume")
    assert "v1" in {item.patient for item in found.items}
    with pytest.raises(InputError, match="no column 'picture'"):
        layout_named("folder-of-pairs").items(source, patients=f"{table}:picture:volume")


def test_a_folder_without_the_masks_is_named_with_what_it_holds(made: Made) -> None:
    source = made("folder-of-pairs")
    (source / "drafts").mkdir()
    shutil.copy(source / "masks" / "a" / "p0_1.png", source / "drafts" / "sketch.png")
    with pytest.raises(InputError, match=r"same name .*; .*/drafts holds sketch; check the folder of masks"):
        layout_named("folder-of-pairs").items(source, labels="drafts")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patient_pattern": "(p"}, "isn't a regular expression"),
        ({"patients": "absent.csv"}, "no such CSV file"),
        ({"patients": "absent.csv", "patient_pattern": "p"}, "not both"),
        ({"images": "pictures"}, "no pictures in it"),
        ({"label_suffix": "_mask"}, "none of its 10 images has a mask of the same name"),
        ({"labels": "truths"}, r"no truths in it; it holds images, masks: name the folders by --images and --labels"),
        ({"labels": "images"}, "each image would be its own mask; name another by --labels"),
        ({"patient_pattern": "p"}, r"calls all 10 images one patient, 'p'; put what tells patients apart in paren"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(made: Made, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        layout_named("folder-of-pairs").items(made("folder-of-pairs"), **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,patient\nx,y\n", "no column 'image'"),
        ("image,patient\np0_1.png,\n", "line 2 has no patient"),
        ("image,patient\nx,a\nx,b\n", "x has two patients"),
        ("", "no column 'image' \\(it has none\\)"),
        (b"\xff\xfe\x00", "not readable as CSV"),
    ],
)
def test_a_malformed_table_is_told_in_one_line(made: Made, tmp_path: Path, text: str | bytes, message: str) -> None:
    table = tmp_path / "patients.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        layout_named("folder-of-pairs").items(made("folder-of-pairs"), patients=table)


def test_masks_may_end_differently_from_their_images(made: Made) -> None:
    source = made("folder-of-pairs")
    for mask in list((source / "masks").rglob("*.png")):
        mask.rename(mask.with_name(f"{mask.stem}_mask.png"))
    (source / "masks" / "a" / "stray_mask.png").write_bytes(mask.with_name(f"{mask.stem}_mask.png").read_bytes())
    found = layout_named("folder-of-pairs").items(source, label_suffix="_mask")
    assert len(found.items) == 10
    assert found.warnings[0] == "1 masks without image left out: stray_mask.png"


def test_two_images_of_one_stem_are_refused(made: Made) -> None:
    source = made("folder-of-pairs")
    (source / "images" / "a" / "p0_1.jpg").touch()
    with pytest.raises(InputError, match=r"p0_1\.jpg and p0_1\.png have one stem"):
        layout_named("folder-of-pairs").items(source)


def test_an_empty_folder_of_images_is_refused(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    with pytest.raises(InputError, match="holds no image"):
        layout_named("folder-of-pairs").items(tmp_path)


def test_hidden_files_of_other_systems_are_passed_over(made: Made) -> None:
    source = made("pxr150")
    (source / "images_all" / "._001.png").touch()
    (source / "images_all" / "Thumbs.db").touch()
    assert len(layout_named("pxr150").items(source).items) == 10
