"""A search tries settings, stops poor trials, goes on where it was, and says what to do about every trouble."""

import csv
import json
import mmap
import shlex
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from html_page import Page

import radseg.bundles
from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.experiments import machine, search_page, search_storage
from radseg.pipelines.experiments.search import search
from radseg.pipelines.experiments.search_results import Search
from radseg.pipelines.overrides import parse
from radseg.pipelines.train import train

EPOCHS = 6
BEST_RATE = 1e-3


class Killed(BaseException):
    """As if the process had ended here."""


class FakeTraining:
    """Stands for the verb `train`: its Dice is best near one learning rate and rises with the epochs.

    It keeps what a training keeps, and can be killed in the middle of a trial.
    """

    def __init__(self, kill_after: int | None = None) -> None:
        self.kill_after = kill_after
        self.epochs_run = 0
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self, bundle: str, *, trust_config: bool, on_epoch: Callable[[Mapping[str, float]], None], **options: Any
    ) -> None:
        self.calls.append(options)
        folder = Path(options["output_dir"])
        rows: list[dict[str, float]] = []
        if options["resume"]:
            rows = torch.load(folder / "last.pt", weights_only=True)["epochs"]
        for epoch in range(len(rows) + 1, EPOCHS + 1):
            if self.epochs_run == self.kill_after:
                raise Killed
            self.epochs_run += 1
            rows.append({"epoch": epoch, "loss": 1.0 / epoch, "val_dice": self.dice(options, epoch)})
            torch.save({"epochs": rows}, folder / "last.pt")
            on_epoch(rows[-1])

    def dice(self, options: Mapping[str, Any], epoch: int) -> float:
        away = abs(torch.log10(torch.tensor(options["learning_rate"] / BEST_RATE)).item())
        return epoch / EPOCHS / (1.0 + away)


def tried(run: Callable[..., Any], output_dir: Path, **options: Any) -> Search:
    settings = {"trials": 7, "warmup_epochs": 1, "startup_trials": 3, "seed": 4, "progress": False, **options}
    return search("lung_ct", output_dir=output_dir, run=run, **settings)


def what_happened(found: Search) -> list[tuple[Any, ...]]:
    return [(one.number, one.status, dict(one.values), one.value, one.epochs) for one in found.trials]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Nobody pulls the plug in a test: SQLite needn't wait for the disk. Nobody looks at the page: no figures in it."""
    connect = search_storage._connect

    def without_waiting(file: Path) -> sqlite3.Connection:
        connection = connect(file)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_storage, "_connect", without_waiting)
        patch.setattr(search_page, "_figures", lambda search: "")
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Search, FakeTraining, Path]:
    folder, training = tmp_path_factory.mktemp("search") / "whole", FakeTraining()
    return tried(training, folder), training, folder


def test_the_best_trial_is_the_one_with_the_best_epoch(whole: tuple[Search, FakeTraining, Path]) -> None:
    found, training, _ = whole
    assert len(found.trials) == len(training.calls) == 7
    assert found.best is not None
    assert found.best.value == max(one.value for one in found.trials if one.value is not None)
    assert found.best.status == "done"
    assert found.best.best_epoch == EPOCHS
    assert found.best_overrides == {
        key: value for key, value in training.calls[found.best.number].items() if key in found.best_overrides
    }


def test_parameters_stay_in_their_ranges_and_move_all_their_keys(whole: tuple[Search, FakeTraining, Path]) -> None:
    _, training, _ = whole
    for options in training.calls:
        assert 1e-5 <= options["learning_rate"] <= 1e-2
        assert 0.5 <= options["loss#beta"] <= 0.95
        moved = {value for key, value in options.items() if key.endswith("#prob")}
        assert len(moved) == 1
        assert 0.0 <= moved.pop() <= 1.0
    assert len({options["learning_rate"] for options in training.calls}) == 7


def test_trials_below_the_median_are_stopped_and_the_first_ones_never(
    whole: tuple[Search, FakeTraining, Path],
) -> None:
    found, training, _ = whole
    pruned = [one for one in found.trials if one.status == "pruned"]
    assert pruned
    assert all(one.number >= 3 and one.epochs < EPOCHS and one.error is None for one in pruned)
    assert all(one.epochs == EPOCHS for one in found.trials if one.status == "done")
    assert training.epochs_run == sum(one.epochs for one in found.trials) < 7 * EPOCHS


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(
    whole: tuple[Search, FakeTraining, Path], tmp_path: Path
) -> None:
    found, _, _ = whole
    assert what_happened(tried(FakeTraining(), tmp_path / "again")) == what_happened(found)
    other = tried(FakeTraining(), tmp_path / "other", seed=5, trials=1)
    assert other.trials[0].values != found.trials[0].values


@pytest.mark.parametrize("kill_after", [0, 2, EPOCHS, 3 * EPOCHS + 1])
def test_a_killed_search_goes_on_as_if_it_had_not_been(
    kill_after: int, whole: tuple[Search, FakeTraining, Path], tmp_path: Path
) -> None:
    found, uninterrupted, _ = whole
    first, second = FakeTraining(kill_after), FakeTraining()
    with pytest.raises(Killed):
        tried(first, tmp_path / "out")
    assert what_happened(tried(second, tmp_path / "out")) == what_happened(found)
    assert first.epochs_run + second.epochs_run == uninterrupted.epochs_run  # no finished epoch is trained again


def test_a_finished_search_trains_nothing_and_more_trials_go_on(
    whole: tuple[Search, FakeTraining, Path], tmp_path: Path
) -> None:
    found, _, folder = whole
    again = FakeTraining()
    assert what_happened(tried(again, folder)) == what_happened(found)
    assert again.calls == []
    part = tried(FakeTraining(), tmp_path / "out", trials=4)
    assert what_happened(part) == what_happened(found)[:4]
    assert what_happened(tried(FakeTraining(), tmp_path / "out")) == what_happened(found)


def test_results_are_written_after_every_trial(tmp_path: Path) -> None:
    seen: list[int] = []
    pages: list[int] = []

    class Looking(FakeTraining):
        def __call__(self, bundle: str, **options: Any) -> None:
            file = tmp_path / "out" / "search.json"
            seen.append(len(json.loads(file.read_text())["trials"]) if file.exists() else 0)
            page = tmp_path / "out" / "index.html"
            pages.append(len(Page(page.read_text()).table("Best epoch")) - 1 if page.exists() else 0)
            super().__call__(bundle, **options)

    tried(Looking(), tmp_path / "out", trials=3)
    assert seen == pages == [0, 1, 2]
    assert len(Page((tmp_path / "out" / "index.html").read_text()).table("Best epoch")) == 1 + 3


def test_the_files_say_what_was_run_on_what(whole: tuple[Search, FakeTraining, Path]) -> None:
    found, _, folder = whole
    content = json.loads((folder / "search.json").read_text())
    assert content["best"]["number"] == found.best.number if found.best else None
    assert content["command"] == found.command
    assert content["metric"] == "val_dice"
    assert content["machine"]["cores"] >= 1
    assert len(content["dataset"]["sha256"]) == 64
    assert content["dataset"]["simulated"] is True  # the sample data
    with (folder / "search.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == [one.status for one in found.trials]
    assert [float(row["learning_rate"]) for row in rows] == [one.values["learning_rate"] for one in found.trials]
    assert all((folder / row["folder"] / "last.pt").is_file() for row in rows)


def test_each_trial_says_which_commits_computed_it_and_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "commit", lambda: "aaaaaaaaaaaa")
    with pytest.raises(Killed):
        tried(FakeTraining(EPOCHS + 2), tmp_path / "out", trials=3)
    monkeypatch.setattr(machine, "commit", lambda: "bbbbbbbbbbbb")
    found = tried(FakeTraining(), tmp_path / "out", trials=3)
    a, b = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
    assert [[origin.commit for origin in one.origins] for one in found.trials] == [[a], [a, b], [b]]
    assert (found.commit, found.date) == (b, found.trials[-1].ended)
    monkeypatch.setattr(machine, "commit", lambda: "cccccccccccc")
    assert tried(FakeTraining(), tmp_path / "out", trials=3) == found


def test_the_seconds_of_a_trial_hold_those_before_a_restart(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        tried(FakeTraining(2), tmp_path / "out", trials=1)
    file = tmp_path / "out" / "trials" / "trial_000" / "progress.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "seconds": {"train": 1000.0}}))
    (trial,) = tried(FakeTraining(), tmp_path / "out", trials=1).trials
    assert 1000 < trial.seconds < 1100


def test_each_trial_has_its_epochs_and_the_memory_that_it_took(tmp_path: Path) -> None:
    class Greedy(FakeTraining):
        def dice(self, options: Mapping[str, Any], epoch: int) -> float:
            if len(self.calls) == 1:
                with mmap.mmap(-1, 100_000_000) as fresh:  # what is freed may be used again without the memory growing
                    fresh[::4096] = bytes(len(range(0, len(fresh), 4096)))
            return super().dice(options, epoch)

    first, second = tried(Greedy(), tmp_path / "out", trials=2).trials
    assert [epoch for epoch, _ in first.scores] == list(range(1, EPOCHS + 1))
    assert first.scores[-1][1] == first.value
    assert first.peak_memory_bytes is not None
    assert second.peak_memory_bytes is not None
    if Path("/proc/self/clear_refs").exists():
        assert first.peak_memory_bytes - second.peak_memory_bytes > 5e7  # each counts its own


def test_a_trial_of_before_that_was_kept_can_be_read(tmp_path: Path) -> None:
    found = tried(FakeTraining(), tmp_path / "out", trials=1)
    with sqlite3.connect(tmp_path / "out" / "search.sqlite") as connection:
        ((notes,),) = connection.execute("select value_json from trial_user_attributes").fetchall()
        new = ("origins", "ended", "peak_memory_bytes", "peak_gpu_memory_bytes")
        old = {key: value for key, value in json.loads(notes).items() if key not in new}
        connection.execute("update trial_user_attributes set value_json = ?", (json.dumps(old),))
    connection.close()
    again = tried(FakeTraining(), tmp_path / "out", trials=1)
    assert again.trials == (replace(found.trials[0], origins=(), ended=None, peak_memory_bytes=None),)
    assert (again.commit, again.date, again.machine) == (None, None, None)


def test_the_command_of_the_best_reads_back_as_its_settings(whole: tuple[Search, FakeTraining, Path]) -> None:
    found, _, folder = whole
    assert found.command is not None
    words = shlex.split(found.command)
    assert words[:3] == ["radseg", "train", "lung_ct"]
    assert parse(words[3:]) == ([], {"output": str(folder / "best"), "seed": 4, **found.best_overrides})


def test_the_command_of_the_best_can_be_pasted_as_it_is(
    whole: tuple[Search, FakeTraining, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    radseg: Callable[..., Any],
) -> None:  # fmt: skip
    found, _, folder = whole
    images = tmp_path / "images of mine"
    images.mkdir()
    trained: list[dict[str, Any]] = []

    def training(bundle: str, **options: Any) -> SimpleNamespace:
        trained.append({"bundle": bundle, **options})
        return SimpleNamespace(stopped_early=False, epochs=2, best_metric=0.5, weights="model.pt")

    monkeypatch.setattr("radseg.pipelines.train.train", training)
    of_mine = {"dataset_dir": str(images)}
    trusted = replace(found, overrides={**of_mine, "seed": 4}, trust_config=True)
    for one, trusts, of_data in ((found, False, {}), (trusted, True, of_mine)):
        ended = radseg(*shlex.split(one.command or "")[1:])
        assert ended.code == 0, ended.err
        given = trained.pop()
        assert given["output_dir"] == str(folder / "best")
        assert given["trust_config"] is trusts
        assert {key: given.get(key) for key in found.best_overrides} == found.best_overrides
        assert of_data.items() <= given.items()


def test_where_a_search_lies_is_in_its_command_alone(whole: tuple[Search, FakeTraining, Path]) -> None:
    _, _, folder = whole
    content = json.loads((folder / "search.json").read_text())
    assert f"--output {folder / 'best'}" in content.pop("command")
    assert str(folder) not in json.dumps(content)


@pytest.mark.parametrize(
    ("bundle", "key_metric", "said"),
    [
        ("lung_ct", "val_dice", "it is the bundle's key metric too"),
        (
            "lung_xray",
            "val_loss",
            "not val_loss, the bundle's key metric, which within each training chooses the",
        ),
    ],
)
def test_it_is_said_which_metric_is_optimised_and_how_it_stands_to_the_bundles_own(
    bundle: str, key_metric: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = search(bundle, output_dir=tmp_path, trials=1, run=FakeTraining(), device="cpu")
    assert (found.metric, found.key_metric) == ("val_dice", key_metric)
    line = capsys.readouterr().err.splitlines()[0]
    start = 'searching by val_dice, the higher the better, as "metric" in the bundle\'s experiments.json says; '
    assert line.startswith(start + said)
    assert line.endswith("a loss doesn't where its own settings are searched.")
    assert json.loads((tmp_path / "search.json").read_text())["key_metric"] == key_metric
    page = Page((tmp_path / "index.html").read_text())
    judged = {row[0]: row[1] for row in page.tables[0]}["Judged by"]
    assert said in judged
    assert "a loss doesn't where its own settings are searched" in judged


def test_the_command_line_searches_and_prints_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, radseg: Callable[..., Any]
) -> None:
    training = FakeTraining()
    monkeypatch.setitem(search.__kwdefaults__, "run", training)
    arguments = ("experiment", "search", "lung_ct", "-o", tmp_path / "out", "--device", "cpu", "--max_epochs", "3")
    ended = radseg(*arguments, "--trials", "2", "--seed", "4")
    assert ended.code == 0, ended.err
    assert [(options["device"], options["seed"], options["max_epochs"]) for options in training.calls] == [
        ("cpu", 4, 3)
    ] * 2
    content = json.loads((tmp_path / "out" / "search.json").read_text())
    assert len(content["trials"]) == 2
    assert f"best of 2 trials: val_dice {content['best']['value']:.4f}\n{content['command']}" in ended.out
    assert "index.html" in ended.err

    def failing(bundle: str, **options: Any) -> None:
        raise ConfigError("no such thing")

    monkeypatch.setitem(search.__kwdefaults__, "run", failing)
    ended = radseg(*arguments, "--trials", "3", "--seed", "4", "-q")
    assert (ended.code, ended.out, ended.err) == (1, "", "")


@pytest.mark.parametrize(
    ("arguments", "reached"), [((), (5, 5)), (("--startup-trials", "2", "--warmup-epochs", "3"), (2, 3))]
)
def test_the_command_line_says_when_pruning_may_begin(
    arguments: tuple[str, ...], reached: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    radseg: Callable[..., Any],
) -> None:  # fmt: skip
    made: list[tuple[int, ...]] = []

    class Noted(optuna.pruners.MedianPruner):
        def __init__(self, *numbers: int) -> None:
            made.append(numbers)
            super().__init__(*numbers)

    monkeypatch.setattr(optuna.pruners, "MedianPruner", Noted)
    monkeypatch.setitem(search.__kwdefaults__, "run", FakeTraining())
    ended = radseg("experiment", "search", "lung_ct", "-o", tmp_path / "out", "--trials", "1", *arguments)
    assert ended.code == 0, ended.err
    assert made[-1] == reached  # before it Optuna makes one of its own


@pytest.mark.parametrize(("startup", "warmup"), [(2, 3), (4, 2)])
def test_no_trial_is_pruned_before_the_warmup_epoch_nor_before_the_startup_trials(
    startup: int, warmup: int, tmp_path: Path
) -> None:
    class Worsening(FakeTraining):
        def dice(self, options: Mapping[str, Any], epoch: int) -> float:
            return epoch / EPOCHS / len(self.calls)

    found = tried(Worsening(), tmp_path / "out", trials=6, startup_trials=startup, warmup_epochs=warmup)
    assert [one.epochs for one in found.trials] == [EPOCHS] * startup + [warmup] * (6 - startup)


def test_a_setting_that_is_given_is_not_searched(tmp_path: Path) -> None:
    training = FakeTraining()
    found = tried(training, tmp_path / "out", trials=2, learning_rate=0.002)
    assert [options["learning_rate"] for options in training.calls] == [0.002, 0.002]
    assert "learning_rate" not in found.parameters


def test_a_search_to_the_lowest_value_takes_the_lowest(foreign: Callable[..., Path], tmp_path: Path) -> None:
    bundle = foreign({"metric": "val_dice", "direction": "minimize", "parameters": {"learning_rate": RATE}})
    options = {"output_dir": tmp_path / "out", "trials": 4, "trust_config": True, "progress": False}
    found = search(bundle, run=FakeTraining(), **options)
    assert found.best is not None
    assert found.best.value == min(one.value for one in found.trials if one.value is not None)
    assert found.best.best_epoch == 1


def test_whole_numbers_and_choices_are_searched_too(foreign: Callable[..., Path], tmp_path: Path) -> None:
    bundle = foreign(
        {
            "metric": "val_dice",
            "parameters": {
                "learning_rate": RATE,
                "batch_size": {"type": "int", "low": 2, "high": 8, "step": 2},
                "amp": {"choices": [True, False]},
            },
        }
    )
    training = FakeTraining()
    search(bundle, output_dir=tmp_path, run=training, trials=8, trust_config=True, progress=False)
    assert {options["batch_size"] for options in training.calls} <= {2, 4, 6, 8}
    assert {options["amp"] for options in training.calls} == {True, False}


def test_a_trial_that_diverges_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    class Diverging(FakeTraining):
        def dice(self, options: Mapping[str, Any], epoch: int) -> float:
            if len(self.calls) == 2 and epoch == 3:
                raise ConfigError("the training diverged in epoch 3 (loss not finite); lower learning_rate")
            return super().dice(options, epoch)

    found = tried(Diverging(), tmp_path / "out", trials=4)
    assert [one.status == "failed" for one in found.trials] == [False, True, False, False]
    assert found.trials[1].error == "the training diverged in epoch 3 (loss not finite); lower learning_rate"
    assert found.trials[1].epochs == 2
    assert found.best is not None
    assert found.best.number != 1


def test_a_trial_that_dies_of_its_settings_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    class TooLarge(FakeTraining):
        def dice(self, options: Mapping[str, Any], epoch: int) -> float:
            if len(self.calls) == 1:
                raise RuntimeError("CUDA out of memory")
            return super().dice(options, epoch)

    found = tried(TooLarge(), tmp_path / "out", trials=3)
    assert [one.status == "failed" for one in found.trials] == [True, False, False]
    assert found.trials[0].error == "RuntimeError: CUDA out of memory"


def test_a_full_disk_is_no_trials_fault_and_ends_a_search_that_can_go_on(tmp_path: Path) -> None:
    class FullDisk(FakeTraining):
        def dice(self, options: Mapping[str, Any], epoch: int) -> float:
            raise ConfigError("out: can't be written; free space and use --resume") from OSError("No space left")

    with pytest.raises(ConfigError, match="free space"):
        tried(FullDisk(), tmp_path / "out", trials=2)
    found = tried(FakeTraining(), tmp_path / "out", trials=2)
    assert [one.status == "failed" for one in found.trials] == [False, False]


def test_a_metric_that_is_never_a_number_fails_its_trial_alone(tmp_path: Path) -> None:
    class Undefined(FakeTraining):
        def dice(self, options: Mapping[str, Any], epoch: int) -> float:
            return float("nan") if len(self.calls) == 1 else super().dice(options, epoch)

    found = tried(Undefined(), tmp_path / "out", trials=2)
    assert [one.status for one in found.trials] == ["failed", "done"]
    assert found.trials[0].error == "val_dice was never a number"
    assert json.loads((tmp_path / "out" / "search.json").read_text())["trials"][0]["value"] is None


def test_a_search_whose_trials_all_fail_ends_with_their_reason(tmp_path: Path) -> None:
    def failing(bundle: str, **options: Any) -> None:
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="all 3 trials failed; the last: no such thing"):
        tried(failing, tmp_path / "out")


def test_unusable_data_end_a_search_at_once(tmp_path: Path) -> None:
    def refusing(bundle: str, **options: Any) -> None:
        raise InputError("image.png: can't be read")

    with pytest.raises(InputError, match="can't be read"):
        tried(refusing, tmp_path / "out")
    assert not (tmp_path / "out" / "search.json").exists()


RATE = {"low": 1e-5, "high": 1e-2, "log": True}


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of lung_ct with another section `search`."""

    def make(section: Any) -> Path:
        folder = tmp_path / "bundle" / "own"
        shutil.copytree(radseg.bundles.root("lung_ct"), folder, ignore=shutil.ignore_patterns("models"))
        (folder / "experiments.json").write_text(json.dumps({} if section is None else {"search": section}))
        return folder

    return make


BAD_PLANS = [
    (None, "plans no search"),
    ({"metric": "val_dice", "parameters": {}}, "plans no search"),
    ({"metric": 3, "parameters": {"learning_rate": RATE}}, "wants a 'metric'"),
    ({"metric": "val_dice", "direction": "up", "parameters": {"learning_rate": RATE}}, "maximize or minimize"),
    ({"metric": "val_dice", "parameters": {"learning_rat": RATE}}, "did you mean --learning_rate"),
    ({"metric": "val_dice", "parameters": {"learning_rate": {"low": 1, "high": 0}}}, "low not above high"),
    ({"metric": "val_dice", "parameters": {"learning_rate": {"low": 0, "high": 1, "log": True}}}, "low is above 0"),
    ({"metric": "val_dice", "parameters": {"learning_rate": {"low": 0, "hihg": 1}}}, "must be an object of"),
    ({"metric": "val_dice", "parameters": {"batch_size": {"type": "int", "low": 0.5, "high": 2}}}, "whole numbers"),
    ({"metric": "val_dice", "parameters": {"amp": {"choices": []}}}, "choices must be a list"),
    ({"metric": "val_dice", "parameters": {"x": {"type": "fload", "low": 0, "high": 1}}}, "type 'fload' is unknown"),
    ({"metric": "val_dice", "parameters": {"x": {**RATE, "keys": "learning_rate"}}}, "keys must be a list"),
    (
        {"metric": "val_dice", "parameters": {"learning_rate": RATE, "x": {**RATE, "keys": ["learning_rate"]}}},
        "two parameters for 'learning_rate'",
    ),
]


@pytest.mark.parametrize(("section", "said"), BAD_PLANS)
def test_a_plan_that_can_not_be_searched_is_refused_in_one_line(
    section: Any, said: str, foreign: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        search(foreign(section), output_dir=tmp_path / "out", run=FakeTraining(), trust_config=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_metric_that_is_not_measured_ends_the_search_after_one_epoch(
    foreign: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = foreign({"metric": "val_iou", "parameters": {"learning_rate": RATE}})
    training = FakeTraining()
    with pytest.raises(ConfigError, match="doesn't measure 'val_iou' but val_dice; correct 'metric'"):
        search(bundle, output_dir=tmp_path / "out", run=training, trust_config=True, progress=False)
    assert training.epochs_run == 1


BAD_CALLS = [
    ({"trials": 0}, "trials is 0"),
    ({"warmup_epochs": -1}, "warmup_epochs is -1"),
    ({"resume": True}, "--resume isn't for a search"),
    ({"max_epoch": 3}, "did you mean --max_epochs"),
    ({"dataset_dir": "nowhere"}, "no such datalist"),
    ({"output_dir": "s3://bucket/out"}, "local folder"),
]


@pytest.mark.parametrize(("options", "said"), BAD_CALLS)
def test_a_search_that_can_not_be_run_touches_nothing(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, InputError), match=said):
        search("lung_ct", run=FakeTraining(), **{"output_dir": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_everything_given_leaves_nothing_to_search(foreign: Callable[..., Path], tmp_path: Path) -> None:
    bundle = foreign({"metric": "val_dice", "parameters": {"learning_rate": RATE}})
    with pytest.raises(ConfigError, match="every searched setting was given a value"):
        search(bundle, output_dir=tmp_path / "out", run=FakeTraining(), trust_config=True, learning_rate=0.1)


def test_a_locked_storage_is_one_line_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_storage, "_WAIT_SECONDS", 0.0)
    tried(FakeTraining(), tmp_path / "out", trials=1)
    other = sqlite3.connect(tmp_path / "out" / "search.sqlite")
    try:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match=r"search\.sqlite: is locked by another program; close what") as error:
            tried(FakeTraining(), tmp_path / "out", trials=2)
    finally:
        other.close()
    assert "\n" not in str(error.value)
    assert len(tried(FakeTraining(), tmp_path / "out", trials=2).trials) == 2


def test_a_storage_that_gets_locked_during_a_trial_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Search, FakeTraining, Path]
) -> None:
    monkeypatch.setattr(search_storage, "_WAIT_SECONDS", 0.0)
    holder = SimpleNamespace(connection=None)

    class Locking(FakeTraining):
        def dice(self, options: Mapping[str, Any], epoch: int) -> float:
            if len(self.calls) == 2 and epoch == 3:
                holder.connection = sqlite3.connect(tmp_path / "out" / "search.sqlite")
                holder.connection.execute("BEGIN EXCLUSIVE")
            return super().dice(options, epoch)

    try:
        with pytest.raises(ConfigError, match="locked"):
            tried(Locking(), tmp_path / "out")
    finally:
        holder.connection.close()
    assert what_happened(tried(FakeTraining(), tmp_path / "out")) == what_happened(whole[0])


def test_a_damaged_storage_is_told_from_a_locked_one(tmp_path: Path) -> None:
    tried(FakeTraining(), tmp_path / "out", trials=1)
    (tmp_path / "out" / "search.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(ConfigError, match=r"is damaged \(file is not a database\); move it away"):
        tried(FakeTraining(), tmp_path / "out", trials=2)


def test_two_searches_never_share_a_folder(tmp_path: Path) -> None:
    class Starting(FakeTraining):
        def __call__(self, bundle: str, **options: Any) -> None:
            with pytest.raises(ConfigError, match="at work there"):
                tried(FakeTraining(), tmp_path / "out")
            super().__call__(bundle, **options)

    assert len(tried(Starting(), tmp_path / "out", trials=1).trials) == 1


@pytest.mark.parametrize(
    ("options", "other"), [({"seed": 5}, "seed"), ({"loss#beta": 0.8}, "parameters"), ({"max_epochs": 3}, "overrides")]
)
def test_the_folder_of_another_search_is_refused(options: dict[str, Any], other: str, tmp_path: Path) -> None:
    tried(FakeTraining(), tmp_path / "out", trials=1)
    with pytest.raises(ConfigError, match=f"another experiment .*{other}"):
        tried(FakeTraining(), tmp_path / "out", trials=2, **options)


def test_without_optuna_a_search_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"needs Optuna; pip install 'radseg\[search\]'"):
        tried(FakeTraining(), tmp_path / "out")


def test_letters_that_mean_something_in_a_url_may_stand_in_the_folders_name(tmp_path: Path) -> None:
    folder = tmp_path / "a 50% search? #1 & more"
    assert len(tried(FakeTraining(), folder, trials=1).trials) == 1
    assert (folder / "search.sqlite").is_file()


def test_a_search_calls_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"a connection to {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(tried(FakeTraining(), tmp_path / "out", trials=2).trials) == 2


class AllButTheFirst(optuna.pruners.BasePruner):
    """Stops every trial but the first after its first epoch."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return bool(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))


def test_real_trainings_are_stopped_and_gone_on_with(
    small: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"trials": 2, "progress": False, "max_epochs": 2, **small["lung_xray"]}
    monkeypatch.setattr(optuna.pruners, "MedianPruner", AllButTheFirst)

    def history(output_dir: Path, number: int) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((output_dir / f"trials/trial_00{number}/history.json").read_text())
        return content

    found = search("lung_xray", output_dir=tmp_path / "out", **options)
    assert [(one.status, one.epochs) for one in found.trials] == [("done", 2), ("pruned", 1)]
    for one in found.trials:
        assert (tmp_path / "out" / one.folder / "model.pt").is_file()
        epochs = history(tmp_path / "out", one.number)["epochs"]
        assert len(epochs) == one.epochs
        assert {row["learning_rate"] for row in epochs} == {one.values["learning_rate"]}
        assert one.value == max(row["val_dice"] for row in epochs)

    def killed_after_an_epoch(bundle: str, *, on_epoch: Callable[..., None], **settings: Any) -> None:
        def note(row: dict[str, float]) -> None:
            on_epoch(row)
            raise KeyboardInterrupt

        train(bundle, on_epoch=note, **settings)

    with pytest.raises(KeyboardInterrupt):
        search("lung_xray", output_dir=tmp_path / "killed", run=killed_after_an_epoch, **options)
    again = search("lung_xray", output_dir=tmp_path / "killed", **options)
    assert what_happened(again)[0] == what_happened(found)[0]
    assert history(tmp_path / "killed", 0)["losses"] == history(tmp_path / "out", 0)["losses"]
