"""The page of a search: every trial with its settings, the best, what was pruned or failed, and what it was run on."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest
from html_page import Page

from radseg.pipelines.experiments.results import Machine, Origin
from radseg.pipelines.experiments.search_page import write_search_page
from radseg.pipelines.experiments.search_results import Search, Searched, Trial

HERE = (Origin("75a294113ad0", Machine("AMD EPYC 9R14", 2, 16.1, "CPU")),)


def trial(number: int, status: str, rate: float, score: float | None, epochs: int, error: str | None = None) -> Trial:
    scores = () if score is None else tuple((epoch, score * epoch / epochs) for epoch in range(1, epochs + 1))
    return Trial(
        number=number, status=status, values={"learning_rate": rate, "batch_size": 4}, value=score,
        best_epoch=None if score is None else epochs, epochs=epochs, seconds=100.0 + number,
        folder=f"trials/trial_00{number}", error=error, origins=HERE, ended="2026-11-21T12:00:00+00:00", scores=scores,
        peak_memory_bytes=2_150_000_000,
    )  # fmt: skip


DIVERGED = "the training diverged in epoch 3 (loss not finite); lower learning_rate"
TRIALS = (
    trial(0, "done", 0.001, 0.8, 6),
    trial(1, "done", 0.00012345, 0.9, 6),
    trial(2, "failed", 0.01, None, 2, DIVERGED),
    trial(3, "pruned", 0.002, 0.25, 3),
)
RATE = {"name": "learning_rate", "keys": ["learning_rate"], "type": "float", "low": 1e-5, "high": 0.01, "log": True,
        "step": None, "choices": []}  # fmt: skip
SIZE = {"name": "batch_size", "keys": ["batch_size"], "type": "categorical", "choices": [2, 4]}
SEARCH = Search(
    bundle="lung_ct",
    version="0.1.0",
    commit="75a294113ad0",
    date="2026-11-21T12:00:00+00:00",
    machine=HERE[0].machine,
    dataset=Searched("ab" * 32, 12, 4, True),
    metric="val_dice",
    direction="maximize",
    parameters={"learning_rate": RATE, "batch_size": SIZE},
    seed=4,
    overrides={"max_epochs": 6, "dataset_dir": "/home/somebody/images"},
    trials=TRIALS,
    best=TRIALS[1],
    best_overrides={"learning_rate": 0.00012345, "batch_size": 4},
)


def page_of(search: Search, folder: Path) -> Page:
    return Page(write_search_page(search, folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(SEARCH, tmp_path_factory.mktemp("search"))


def test_every_trial_is_there_with_its_settings_score_and_seconds(page: Page) -> None:
    rows = page.table("Best epoch")
    assert rows[0][:7] == ["Trial", "Status", "val_dice", "Best epoch", "learning_rate", "batch_size", "Time"]
    assert rows[1][:7] == ["trial 0", "done", "0.8000", "6 of 6", "0.001", "4", "100 s"]
    assert rows[2][:5] == ["trial 1, best", "done", "0.9000", "6 of 6", "0.0001234"]
    assert rows[3][:4] == ["trial 2", "failed", "–", "–"]
    assert rows[4][:4] == ["trial 3", "pruned", "0.2500", "3 of 3"]
    assert rows[1][7] == "2.15 GB"


def test_the_best_and_what_was_pruned_or_failed_are_named(page: Page) -> None:
    assert "Best val_dice: 0.9000, trial 1, in epoch 6; 4 trials ended." in page.text
    assert page.table("Key")[1:] == [["learning_rate", "0.0001234"], ["batch_size", "4"]]
    assert f"trial 2 failed after 2 epochs: {DIVERGED}" in page.text
    assert "trial 3 was pruned after 3 epochs, with val_dice 0.2500" in page.text
    assert "1 trial failed: see why" in page.text


def test_a_search_that_lacks_trials_is_called_partial_in_its_header(tmp_path: Path, page: Page) -> None:
    some = page_of(replace(SEARCH, wanted=30), tmp_path)
    assert "<h1>Search of settings of lung_ct, partial: 4 of 30 trials ended</h1>" in some.source
    assert "partial" not in page_of(replace(SEARCH, wanted=4), tmp_path).source + page.source


def test_it_says_what_it_was_run_on_and_is_no_medical_device(page: Page) -> None:
    first = {row[0]: row[1] for row in page.tables[0]}
    assert first["Data"] == "12 items to train, 4 to validate"
    assert first["Data set's sha256"] == "ab" * 32
    assert first["Simulated"] == "yes, at least in part"
    assert first["Machine"] == "AMD EPYC 9R14, 2 cores, 16 GB memory; trained on CPU"
    assert first["Searched: learning_rate"] == "1e-05 to 0.01, by its logarithm (learning_rate)"
    assert first["Searched: batch_size"] == "one of 2, 4 (batch_size)"
    assert first["Settings"] == "max_epochs = 6"
    assert "commit 75a294113ad0; last trial ended 2026-11-21T12:00:00+00:00; seed 4" in first["Source"]
    assert "Not a medical device: for research only." in page.text
    assert page.text.count("(sha256 abababababab); CPU, AMD EPYC 9R14, ") == len(page.tables) - 1
    assert "The best of many trials was chosen by these scores" in page.text
    assert "somebody" not in page.source


def test_scores_and_curves_are_inside_and_have_words(page: Page) -> None:
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2
    for image in images:
        assert image["alt"]
        assert b"<svg" in base64.b64decode((image["src"] or "").removeprefix("data:image/svg+xml;base64,"))


def test_the_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    assert not [scheme for scheme in ("http:", "https:", "file:", "url(") if scheme in page.source]
    assert not {"script", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert "default-src 'none'" in page.source


def test_the_page_is_whole_html_whatever_ended(tmp_path: Path) -> None:
    several = {
        "nothing": replace(SEARCH, trials=(), best=None, best_overrides={}, date=None),
        "failed": replace(SEARCH, trials=TRIALS[2:3], best=None, best_overrides={}),
        "one": replace(SEARCH, trials=TRIALS[:1], best=TRIALS[0], direction="minimize"),
        "old": replace(SEARCH, trials=tuple(replace(one, origins=(), ended=None) for one in TRIALS)),
    }
    for name, search in several.items():
        page = page_of(search, tmp_path)
        assert (page.open, page.unmatched) == ([], []), name
        assert not re.search(r"\b(nan|None|inf)\b", page.text), name
        if name in ("nothing", "failed"):
            assert "No trial was trained to its end with a score yet" in page.text
            assert "Nothing to draw yet." in page.text


def test_trials_of_other_commits_are_told_apart(tmp_path: Path) -> None:
    elsewhere = replace(TRIALS[1], origins=(Origin("0123456789ab", HERE[0].machine),))
    page = page_of(replace(SEARCH, trials=(TRIALS[0], elsewhere)), tmp_path)
    assert "Trials are of different commits (75a294113ad0: 1 trial; 0123456789ab: 1 trial)" in page.text
    assert page.table("Commit")[2][-2] == "commit 0123456789ab"


def test_no_name_becomes_markup_and_no_place_is_told(tmp_path: Path) -> None:
    tag = '"><img src=x onerror=alert(1)>'
    failed = replace(TRIALS[2], error=f"{tmp_path}/trials/trial_002/last.pt: damaged {tag}")
    search = replace(
        SEARCH, bundle=f"/home/somebody/{tag}", metric=tag, parameters={tag: {**RATE, "keys": [tag]}},
        overrides={tag: tag}, trials=(TRIALS[0], failed), best_overrides={tag: tag},
    )  # fmt: skip
    page = page_of(search, tmp_path)
    assert (page.open, page.unmatched) == ([], [])
    assert "trials/trial_002/last.pt: damaged" in page.text
    assert str(tmp_path) not in page.source
    assert "somebody" not in page.source
    assert {(attributes["src"] or "")[:5] for kind, attributes in page.tags if kind == "img"} == {"data:"}
