"""The table of a batch: what is in it, and that no spreadsheet runs it."""

import csv
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.report.summary import write_summary


def done(case: str, **changes: Any) -> dict[str, Any]:
    row = {"status": "done", "case": case, "kind": "dicom", "seconds": {"read": 1.25, "write": 0.5}, "warnings": []}
    return {**row, "labels": {"spine": {"label": 1, "voxels": 7, "volume_ml": 12.5}}, **changes}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_case_has_the_line_of_its_last_end(tmp_path: Path) -> None:
    write_summary(
        tmp_path,
        [
            {"status": "failed", "case": "b", "kind": "nifti", "reason": "damaged,\n cut off"},
            {"status": "failed", "case": "a", "kind": "dicom", "reason": "the disk was full"},
            done("a", warnings=["cut off", "a small \"field\""]),
            {"status": "refused", "input": "0123456789ab", "reason": "Modality MR, expected CT"},
        ],
    )  # fmt: skip
    assert table(tmp_path) == [
        {"case": "b", "status": "failed", "reason": "damaged, cut off", "kind": "nifti", "seconds": "", "warnings": "",
         "spine_volume_ml": ""},
        {"case": "a", "status": "done", "reason": "", "kind": "dicom", "seconds": "1.75",
         "warnings": 'cut off; a small "field"', "spine_volume_ml": "12.5"},
        {"case": "0123456789ab", "status": "refused", "reason": "Modality MR, expected CT", "kind": "", "seconds": "",
         "warnings": "", "spine_volume_ml": ""},
    ]  # fmt: skip
    raw = (tmp_path / "summary.csv").read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]


def test_a_series_whose_scout_was_refused_is_there_as_case_and_as_refusal(tmp_path: Path) -> None:
    write_summary(tmp_path, [{"status": "refused", "input": "ab", "reason": "localizer (scout)"}, done("ab")])
    assert [(row["case"], row["status"]) for row in table(tmp_path)] == [("ab", "refused"), ("ab", "done")]


def test_a_refusal_that_a_later_run_took_back_is_gone(tmp_path: Path) -> None:
    refused = {"status": "refused", "input": "ab", "reason": "cut off"}
    write_summary(tmp_path, [refused, {"status": "usable", "input": "ab"}, done("ab")])
    assert [(row["case"], row["status"]) for row in table(tmp_path)] == [("ab", "done")]


def test_every_amount_of_every_label_has_a_column(tmp_path: Path) -> None:
    picture = {"left": {"share_of_image": 0.25}, "right": {"share_of_image": 0.0, "area_mm2": 3.0}}
    write_summary(tmp_path, [done("a", labels=picture), done("b", labels={"left": {"volume_ml": 1, "voxels": 3}})])
    rows = table(tmp_path)
    assert list(rows[0])[6:] == ["left_volume_ml", "left_share_of_image", "right_area_mm2", "right_share_of_image"]
    assert list(rows[0].values())[6:] == ["", "0.25", "3.0", "0.0"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝"])
def test_no_text_is_taken_for_a_formula(tmp_path: Path, start: str) -> None:
    evil = f'{start}HYPERLINK("http://x")'
    rows = [
        done(evil, kind=evil, warnings=[evil], labels={evil: {"volume_ml": -1.0}}),
        {"status": "failed", "case": "b", "reason": f"\t{evil}"},
    ]
    write_summary(tmp_path, rows)
    first, second = table(tmp_path)
    assert [first["case"], first["kind"], first["warnings"], second["reason"]] == [f"'{evil}"] * 4
    assert first[f"'{evil}_volume_ml"] == "-1.0"


def test_names_in_any_script_and_broken_ones_are_written(tmp_path: Path) -> None:
    write_summary(tmp_path, [done("Мозг 脊椎"), done("M\udcfcller"), done('a "quoted", one'), done("two\r\nlines")])
    assert [row["case"] for row in table(tmp_path)] == ["Мозг 脊椎", "M?ller", 'a "quoted", one', "two\r\nlines"]


def test_an_empty_or_strange_manifest_gives_a_table_without_lines(tmp_path: Path) -> None:
    write_summary(tmp_path, [{}, {"status": "done"}, {"status": "later", "case": "a"}])
    assert (tmp_path / "summary.csv").read_text() == "case,status,reason,kind,seconds,warnings\n"


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_summary(tmp_path, [done("a")])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_summary(tmp_path, [done("b")])
    assert [row["case"] for row in table(tmp_path)] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]
