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
        Measurement("lesion share", None, "%", "left lung", warning='cut off, "here"'),
    ]
)


def test_lines_say_value_unit_and_warning() -> None:
    lines = list(as_lines(ROWS))
    assert lines[0].split() == ["lesion", "volume", "1235", "ml"]
    assert lines[1].endswith("-612.3 ± 12 HU")
    assert lines[2].endswith("0")
    assert lines[3].endswith('none  cut off, "here"')
    assert len({line.index(word) for line, word in zip(lines[2:], ("both", "left"), strict=True)}) == 1


def test_csv_is_read_back_with_what_is_unknown_left_empty() -> None:
    read = list(csv.DictReader(io.StringIO(as_csv(ROWS))))
    assert [row["value"] for row in read] == ["1234.56", "-612.3", "0", ""]
    assert read[3]["warning"] == 'cut off, "here"'
    assert list(as_lines([])) == []
