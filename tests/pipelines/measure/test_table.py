"""Measurements as lines and as CSV."""

import csv
import io

from radseg.pipelines.measure.measurement import Measurement, as_rows
from radseg.pipelines.measure.table import as_csv, as_lines

ROWS = as_rows(
    [
        Measurement("lesion volume", 1234.56, "ml"),
        Measurement("mean density of the lesion", -612.3, "[hnsf'U]", uncertainty=12.34),
        Measurement("CT severity score", 0, "1", "both lungs"),
        Measurement("height loss", 0.1599, "%", "T5", uncertainty=3.04),
        Measurement("height loss", -0.04, "%", "T6", uncertainty=3.04),
        Measurement("height loss", 0.15994, "%", "T7"),
        Measurement("lesion density", 999.96, "[hnsf'U]", "T8"),
        Measurement("lesion share", None, "%", "left lung", warning='cut off, "here"'),
    ]
)


def test_lines_say_value_unit_and_warning() -> None:
    lines = list(as_lines(ROWS))
    assert lines[0].split() == ["lesion", "volume", "1235", "ml"]
    assert lines[2].endswith("0")
    assert lines[-1].endswith('none  cut off, "here"')
    assert len({line.index(word) for line, word in zip(lines[2::5], ("both", "left"), strict=True)}) == 1


def test_lines_say_no_more_digits_than_are_known() -> None:
    lines = list(as_lines(ROWS))
    assert lines[1].endswith(" -612 ± 12 HU")
    assert lines[3].endswith(" 0.2 ± 3.0 %")
    assert lines[4].endswith(" 0.0 ± 3.0 %")
    assert lines[5].endswith(" 0.16 %")
    assert lines[6].endswith(" 1000 HU")


def test_csv_is_read_back_with_what_is_unknown_left_empty() -> None:
    read = list(csv.DictReader(io.StringIO(as_csv(ROWS))))
    assert [row["value"] for row in read] == ["1234.56", "-612.3", "0", "0.1599", "-0.04", "0.1599", "999.96", ""]
    assert read[-1]["warning"] == 'cut off, "here"'
    assert list(as_lines([])) == []
