"""Results go to JSON and back unchanged, to a table with a row a score, and never hold what JSON can't."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.experiments.results import (
    Dataset,
    Machine,
    Origin,
    Results,
    Row,
    Run,
    Variant,
    read_results,
    write_results,
)

DONE = Run(
    fold=0,
    folder="full/fold_0",
    status="done",
    epochs=2,
    best_epoch=1,
    seconds={"train": 10.5, "evaluate": 2.0},
    peak_memory_bytes=10**9,
    history=({"epoch": 1, "loss": 0.5, "val_dice": 0.25}, {"epoch": 2, "loss": 0.25, "val_dice": None}),
    rows=(Row("case, one", "lung", {"dice": 0.5, "hd95_mm": None}), Row("b", "lung", {"dice": 1.0, "hd95_mm": 2.5})),
    notes=("something",),
    origins=(Origin("75a294113ad0", Machine("a processor", 2, 8.0, "CPU")),),
    ended="2026-01-02T03:04:05+00:00",
)
FAILED = Run(fold=1, folder="full/fold_1", status="failed", error="the loss isn't finite")
RESULTS = Results(
    experiment="ablate",
    bundle="toy",
    version="0.1.0",
    commit=None,
    date="2026-01-02T03:04:05+00:00",
    machine=Machine("a processor", 2, 8.0, "CPU"),
    dataset=Dataset("ab" * 32, 5, 4, False, "patient", 2, False, "2 folds by patient"),
    seed=0,
    overrides={"max_epochs": 2},
    baseline="full",
    labels=("lung",),
    paper=None,
    variants=(Variant("full", {}, 123, (DONE, FAILED)), Variant("none", {"key": [1]}, None)),
)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    write_results(RESULTS, tmp_path)
    assert read_results(tmp_path) == RESULTS
    assert RESULTS.failed == (FAILED,)
    told = json.loads((tmp_path / "results.json").read_text())["origins"]
    assert [one["commit"] for one in told] == ["75a294113ad0"]
    assert not list(tmp_path.glob("*.part"))


def test_the_table_has_a_row_for_each_variant_fold_case_and_label(tmp_path: Path) -> None:
    write_results(RESULTS, tmp_path)
    with (tmp_path / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {
        "variant": "full",
        "fold": "0",
        "case": "case, one",
        "label": "lung",
        "dice": "0.5",
        "hd95_mm": "",
    }
    assert [row["dice"] for row in rows] == ["0.5", "1.0"]


def test_numbers_that_arent_finite_are_null(tmp_path: Path) -> None:
    history = ({"epoch": 1, "loss": math.nan, "val_dice": -math.inf},)
    rows = (Row("a", "lung", {"dice": math.nan}),)
    run = replace(DONE, history=history, rows=rows)
    write_results(replace(RESULTS, variants=(Variant("full", {}, 1, (run,)),)), tmp_path)
    text = (tmp_path / "results.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    (read,) = read_results(tmp_path).variants[0].runs
    assert read.history == ({"epoch": 1, "loss": None, "val_dice": None},)
    assert read.rows[0].metrics == {"dice": None}
    assert "nan" not in (tmp_path / "results.csv").read_text()


def test_what_isnt_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"results\.json: no such results"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(InputError, match="isn't JSON that can be read"):
        read_results(tmp_path)
    for wrong in ("{}", "[]", json.dumps({**RESULTS.to_json(), "surprise": 1})):
        (tmp_path / "results.json").write_text(wrong)
        with pytest.raises(InputError, match=r"results\.json: these aren't the results of an experiment"):
            read_results(tmp_path)


def test_a_folder_that_cant_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't be written \(.*\); free space and run again"):
        write_results(RESULTS, tmp_path / "missing")
