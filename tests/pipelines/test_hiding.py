"""Names of files and folders, which may be a patient's, don't reach what is told."""

from pathlib import Path

from radseg.pipelines.hiding import files_of, without_paths


def test_paths_folders_and_names_are_replaced() -> None:
    path = Path("/data/DOE_JANE/IM 1.dcm")
    text = "/data/DOE_JANE/IM 1.dcm: cut off in IM 1.dcm; look into /data/DOE_JANE (DOE_JANE)"
    assert without_paths(text, [path], "case") == "case: cut off in case; look into case (case)"


def test_a_name_inside_another_word_stays() -> None:
    assert without_paths("11 of 1 slices", [Path("/in/1")], "case") == "11 of case slices"


def test_a_folder_counts_with_what_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "DOE.dcm").touch()
    assert files_of(tmp_path) == [tmp_path, tmp_path / "DOE.dcm"]
    assert files_of(tmp_path / "DOE.dcm") == [tmp_path / "DOE.dcm"]
