"""Experiments run every variant on every fold, keep what they have, and refuse before they start what can't be done."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import ConfigError, InputError, WeightsError
from radseg.pipelines.experiments import conduct, machine, verbs
from radseg.pipelines.experiments.identity import held_alone
from radseg.pipelines.experiments.results import Results, Row, Run, read_results
from radseg.pipelines.experiments.runs import DONE, Job, Record, _write, fail
from radseg.pipelines.weights import sha256_of

Dataset = Callable[..., Path]


class Runner:
    """Stands in for the processes of the runs: notes the jobs and leaves a record of each."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.fails: set[str] = set()
        self.stop_at: int | None = None

    def __call__(self, job: Job, held_files: Sequence[int]) -> None:
        if len(self.jobs) == self.stop_at:
            raise KeyboardInterrupt
        self.jobs.append(job)
        job.place.mkdir(parents=True, exist_ok=True)
        if job.variant in self.fails:
            fail(job, "the loss isn't finite")
            return
        cases = json.loads(Path(job.datalist).read_text())["test"]
        rows = tuple(Row(item["image"], "lung", {"dice": 0.5 + job.fold / 10}) for item in cases)
        folder = f"{job.place.parent.name}/{job.place.name}"
        ended = f"2026-11-2{job.fold}T12:00:00+00:00"
        origins = (machine.origin_here("cpu"),)
        _write(job.place / DONE, Record(Run(job.fold, folder, "done", rows=rows, origins=origins, ended=ended), 100))

    @property
    def ran(self) -> list[tuple[int, str]]:
        return [(job.fold, job.variant) for job in self.jobs]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    one = Runner()
    monkeypatch.setattr(conduct, "run_in_child", one)
    return one


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Results]:
    """The results that pages were written of; nothing is drawn, since the runs of these tests leave no networks."""
    written: list[Results] = []

    def write_page(results: Results, output_dir: Path) -> Path:
        written.append(results)
        return output_dir / "index.html"

    def save_worst_cases(results: Results, output_dir: Path, jobs: Sequence[Job]) -> None:
        assert [(job.fold, job.variant) for job in jobs] == [(fold, results.baseline) for fold in range(3)]

    monkeypatch.setattr(conduct, "write_page", write_page)
    monkeypatch.setattr(conduct, "save_worst_cases", save_worst_cases)
    return written


@pytest.fixture
def options(new_dataset: Dataset, tmp_path: Path) -> verbs.Options:
    data = new_dataset(training=["a", "b", "b"], validation=["c"], test=["t"])
    return verbs.Options(
        dataset_dir=data, output_dir=tmp_path / "out", folds=3, device="cpu", progress=False, trust_config=True
    )


def test_every_variant_runs_on_every_fold_and_all_is_written(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path, tmp_path: Path
) -> None:
    results = verbs.ablate(toy, options, max_epochs=7, precision="fast")
    names = ["full", "no CLAHE", "slower"]
    assert runner.ran == [(fold, name) for fold in range(3) for name in names]
    assert read_results(tmp_path / "out") == results
    assert [variant.name for variant in results.variants] == names
    assert all(len(variant.runs) == 3 for variant in results.variants)
    assert [variant.parameters for variant in results.variants] == [100] * 3
    assert (results.experiment, results.bundle, results.baseline) == ("ablate", "toy", "full")
    assert results.labels == ("lung",)
    assert results.overrides == {"max_epochs": 7, "precision": "fast"}
    assert "| no CLAHE |" in (tmp_path / "out" / "tables.md").read_text()
    assert results.paper is not None
    assert results.paper["source"] == "A paper, Table 1"
    assert (results.dataset.cases, results.dataset.patients, results.dataset.by) == (4, 3, "patient")
    assert (results.dataset.folds, results.dataset.leak, len(results.dataset.sha256)) == (3, False, 64)
    assert results.machine is not None
    assert results.machine.device == "CPU"
    # after each run what there is by then, and once more at the end
    assert [sum(len(one.runs) for one in page.variants) for page in pages] == [*range(1, 10), 9]
    job = runner.jobs[1]
    assert job.train == {"seed": 0, "device": "cpu", "max_epochs": 7, "clahe_clip_limit": 0.0}
    assert job.evaluate == {"seed": 0, "device": "cpu", "precision": "fast", "clahe_clip_limit": 0.0}
    assert job.place == tmp_path / "out" / "no-clahe" / "fold_0"


def test_a_cross_validation_tests_each_case_once(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path
) -> None:
    results = verbs.cross_validate(toy, options)
    (variant,) = results.variants
    tested = [row.case for run in variant.runs for row in run.rows]
    assert sorted(tested) == [f"image00{number}.png" for number in range(4)]
    assert results.experiment == "cross-validate"


def test_the_last_epoch_may_be_taken_so_that_all_other_folds_train(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path, tmp_path: Path
) -> None:
    results = verbs.cross_validate(toy, replace(options, choose="last"))
    assert "its last epoch's" in results.dataset.said
    for job in runner.jobs:
        dealt = json.loads(Path(job.datalist).read_text())
        assert len(dealt["training"]) + len(dealt["test"]) == 4
        assert job.train["val_interval"] > 1000  # nothing is validated that a choice could be made by
    with pytest.raises(ConfigError, match="choose 'best' is unknown"):
        verbs.cross_validate(toy, replace(options, choose="best", output_dir=tmp_path / "b"))


def test_each_fold_may_start_from_the_weights_of_an_earlier_experiment(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path, tmp_path: Path
) -> None:
    earlier = str(tmp_path / "fold_{fold}.pt")
    files = [tmp_path / f"fold_{number}.pt" for number in range(3)]
    for number, file in enumerate(files):
        file.write_text(str(number))
    results = verbs.cross_validate(toy, options, weights=earlier)
    assert [job.train["weights"] for job in runner.jobs] == [str(file) for file in files]
    assert results.overrides["weights"] == " ".join(f"sha256:{sha256_of(file)}" for file in files)
    files[2].unlink()
    with pytest.raises(WeightsError, match=r"fold_2\.pt: can't be read"):
        verbs.cross_validate(toy, options, weights=earlier)


def test_a_stopped_experiment_goes_on_where_it_was(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path, tmp_path: Path
) -> None:
    whole = verbs.ablate(toy, replace(options, output_dir=tmp_path / "whole"))
    runner.jobs, runner.stop_at = [], 4
    with pytest.raises(KeyboardInterrupt):
        verbs.ablate(toy, options)
    assert sum(len(variant.runs) for variant in read_results(tmp_path / "out").variants) == 4
    runner.stop_at = None
    assert verbs.ablate(toy, options).variants == whole.variants
    assert len(runner.jobs) == len(set(runner.ran)) == 9
    verbs.ablate(toy, options)
    assert len(runner.jobs) == 9


def test_results_are_of_the_commits_and_the_date_of_their_runs(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "commit", lambda: "aaaaaaaaaaaa")
    first = verbs.cross_validate(toy, replace(options, only=[2]))
    assert (first.commit, first.date) == ("aaaaaaaaaaaa", "2026-11-22T12:00:00+00:00")
    monkeypatch.setattr(machine, "commit", lambda: "bbbbbbbbbbbb")
    both = verbs.cross_validate(toy, options)
    assert sorted(str(origin.commit) for origin in both.origins) == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    assert (both.commit, both.date) == ("aaaaaaaaaaaa", "2026-11-22T12:00:00+00:00")  # of the run that ended last
    monkeypatch.setattr(machine, "commit", lambda: "cccccccccccc")
    assert verbs.cross_validate(toy, options) == both  # what is looked at again isn't of another commit or day


def test_a_device_that_isnt_here_is_refused_before_anything_is_written(
    runner: Runner, options: verbs.Options, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="device 'abacus' is not known"):
        verbs.cross_validate(toy, replace(options, device="abacus"))
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_is_told_and_the_others_go_on(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path
) -> None:
    runner.fails = {"no CLAHE"}
    results = verbs.ablate(toy, options)
    assert [run.error for run in results.failed] == ["the loss isn't finite"] * 3
    assert sum(run.done for variant in results.variants for run in variant.runs) == 6
    runner.fails = set()
    assert verbs.ablate(toy, options).failed == ()


def test_folds_and_variants_can_be_run_one_after_the_other(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path
) -> None:
    verbs.ablate(toy, replace(options, only=[1]), variants=["slower"])
    assert runner.ran == [(1, "full"), (1, "slower")]
    results = verbs.ablate(toy, replace(options, only=[2, 0, 0]), variants=["no CLAHE"])
    assert runner.ran[2:] == [(0, "full"), (0, "no CLAHE"), (2, "full"), (2, "no CLAHE")]
    assert {one.name: [run.fold for run in one.runs] for one in results.variants} == {
        "full": [0, 1, 2],
        "no CLAHE": [0, 2],
        "slower": [1],
    }
    with pytest.raises(ConfigError, match="--only 3: there are folds 0 to 2"):
        verbs.ablate(toy, replace(options, only=[3]))


def test_all_images_that_cant_be_read_are_told_before_anything_is_run(
    runner: Runner, options: verbs.Options, toy: Path
) -> None:
    for name in ("image001.png", "mask_image003.png"):
        (Path(str(options.dataset_dir)) / name).write_text("no picture")
    with pytest.raises(InputError, match=r"2 files can't be read: .*image001\.png.*mask_image003\.png") as refused:
        verbs.ablate(toy, options)
    assert "mend them or take them out of the datalist" in str(refused.value)
    assert runner.ran == []


def test_the_folder_of_another_experiment_is_refused_and_left(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path, tmp_path: Path
) -> None:
    verbs.ablate(toy, options)
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    other_image = replace(options, dataset_dir=options.dataset_dir)
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: verbs.cross_validate(toy, options), "experiment"),
        (lambda: verbs.ablate(toy, options, max_epochs=3), "overrides: --max_epochs was the bundle's own, is 3"),
        (lambda: verbs.ablate(toy, replace(options, seed=1)), "seed"),
        (lambda: verbs.ablate(toy, replace(options, folds=2, by="image")), "folds, by"),
    ]
    for again, what in refused:
        with pytest.raises(ConfigError, match=rf"results folder of another experiment \(other {what}\); choose"):
            again()
    # a device is no part of what an experiment is; data, configs and variants are
    verbs.ablate(toy, replace(options, device="auto"))
    image = Path(str(other_image.dataset_dir)) / "image000.png"
    original = image.read_bytes()
    image.write_text("changed")
    with pytest.raises(ConfigError, match=r"\(other dataset\)"):
        verbs.ablate(toy, other_image)
    image.write_bytes(original)
    plan = json.loads((toy / "experiments.json").read_text())
    plan["ablate"]["variants"]["slower"]["learning_rate"] = 1e-6
    (toy / "experiments.json").write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match=r"\(other variant 'slower'\)"):
        verbs.ablate(toy, options)
    unchanged = {file: content for file, content in before.items() if not file.name.startswith(("results", "."))}
    assert all(file.read_bytes() == content for file, content in unchanged.items())


def test_two_may_share_a_folder_but_no_run(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path, tmp_path: Path
) -> None:
    with held_alone(tmp_path / "out" / "full" / "fold_0"):
        verbs.ablate(toy, replace(options, only=[1]))
        with pytest.raises(ConfigError, match="full/fold_0: another experiment is at work there"):
            verbs.ablate(toy, options)
    verbs.ablate(toy, options)
    assert len(runner.jobs) == len(set(runner.ran)) == 9


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"max_epoch": 3}, "no key 'max_epoch': did you mean --max_epochs"),
        ({"max_epochs": "many"}, "--max_epochs takes a number"),
        ({"fold": 2}, "--fold is set by the experiment for each run; leave it out"),
        ({"split": "training"}, "--split is set by the experiment"),
    ],
)
def test_what_no_run_could_do_is_refused_before_anything_is_written(
    runner: Runner, options: verbs.Options, toy: Path, tmp_path: Path, overrides: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        verbs.cross_validate(toy, options, **overrides)
    assert not (tmp_path / "out").exists()
    assert runner.jobs == []


def test_overrides_of_the_user_are_no_code_though_those_of_the_bundle_may_be(
    runner: Runner, options: verbs.Options, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is an expression, which is code; pass --trust-config"):
        verbs.cross_validate("lung_xray", replace(options, trust_config=False), learning_rate="$1 / 10")
    assert runner.jobs == []


def test_too_few_patients_leave_no_folder_behind_but_an_empty_one(
    runner: Runner, options: verbs.Options, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="3 patients can't fill 5 folds; ask for at most --folds 3"):
        verbs.cross_validate(toy, replace(options, folds=5))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_results_at_a_url_are_refused(runner: Runner, options: verbs.Options, toy: Path) -> None:
    with pytest.raises(ConfigError, match="written to a local folder; choose one with --output"):
        verbs.cross_validate(toy, replace(options, output_dir="s3://bucket/out"))


def test_the_command_line_tells_scores_and_failures(
    runner: Runner, pages: list[Results], options: verbs.Options, toy: Path, tmp_path: Path, radseg: Callable[..., Any]
) -> None:
    arguments = ("experiment", "ablate", toy, "--trust-config", "--dataset_dir", options.dataset_dir, "--folds", "3")
    runner.fails = {"slower"}
    ended = radseg(*arguments, "-o", tmp_path / "out", "--variants", "full, slower", "--max_epochs", "3")
    assert ended.code == 1
    assert "full: lung Dice 0.6000 ± 0.1000, folds done: 3" in ended.out
    assert "3 folds by patient" in ended.out
    assert "failed: slower/fold_0: the loss isn't finite" in ended.err
    assert "slower, fold 2: failed: the loss isn't finite" in ended.err
    runner.fails = set()
    ended = radseg(*arguments, "-o", tmp_path / "out", "--variants", "full,slower", "--max_epochs", "3", "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    wrong = radseg(*arguments, "-o", tmp_path / "out", "--variants", "ful", "--max_epochs", "3")
    assert (wrong.code, wrong.err) == (2, "error: no variant 'ful': did you mean 'full'?\n")


@pytest.mark.parametrize(
    ("verb", "variants", "source"),
    [
        ("cross-validate", ["toy"], "A paper, Table 2"),
        ("ablate", ["full", "no CLAHE", "slower"], "A paper, Table 1"),
        ("compare", ["ours", "theirs"], "A paper, Table 3"),
    ],
)
def test_each_verb_of_the_command_line_runs_its_own_plan(
    verb: str, variants: list[str], source: str, runner: Runner, pages: list[Results], options: verbs.Options,
    toy: Path, tmp_path: Path, radseg: Callable[..., Any],
) -> None:  # fmt: skip
    plan = json.loads((toy / "experiments.json").read_text())
    plan["compare"] = {
        "baseline": "ours",
        "variants": {"ours": {}, "theirs": {"learning_rate": 0.1}},
        "paper": {"source": "A paper, Table 3", "on": "its images"},
    }
    (toy / "experiments.json").write_text(json.dumps(plan))
    arguments = ("--trust-config", "--dataset_dir", options.dataset_dir, "--folds", "3", "--device", "cpu")
    ended = radseg("experiment", verb, toy, *arguments, "-o", tmp_path / "out", "--seed", "5", "--max_epochs", "3")
    assert ended.code == 0, ended.err
    results = read_results(tmp_path / "out")
    assert results.experiment == verb
    assert [variant.name for variant in results.variants] == variants
    assert all(len(variant.runs) == 3 for variant in results.variants)
    assert (results.baseline, results.seed, results.overrides) == (variants[0], 5, {"max_epochs": 3})
    assert results.paper is not None
    assert results.paper["source"] == source
    assert runner.ran == [(fold, name) for fold in range(3) for name in variants]
    assert f"{variants[0]}: lung Dice 0.6000 ± 0.1000, folds done: 3" in ended.out


@pytest.mark.parametrize("verb", ["cross-validate", "ablate", "compare", "search"])
def test_every_verb_has_help_with_an_example(verb: str, radseg: Callable[..., Any]) -> None:
    ended = radseg("experiment", verb, "--help")
    assert ended.code == 0
    assert f"Example: radseg experiment {verb}" in " ".join(ended.out.split())


@pytest.mark.long
def test_a_small_experiment_on_the_sample_data_leaves_all_that_it_promises(
    toy: Path, tmp_path: Path, radseg: Callable[..., Any]
) -> None:
    samples = Path(__file__).parents[3] / "sample_data" / "lung_xray"
    small = ("--network_def#features", "4", "--image_size", "32", "--max_epochs", "2", "--device", "cpu")
    options = (
        "--trust-config",
        "--dataset_dir",
        samples,
        "--variants",
        "slower",
        "--folds",
        "3",
        "--only",
        "0",
        *small,
    )
    ended = radseg("experiment", "ablate", toy, "-o", tmp_path / "out", *options)
    assert ended.code == 0, ended.err
    results = read_results(tmp_path / "out")
    assert results.dataset.simulated
    for variant in results.variants:
        (run,) = variant.runs
        assert run.done
        assert (run.epochs, len(run.history)) == (2, 2)
        assert run.peak_memory_bytes is not None
        assert (tmp_path / "out" / run.folder / "model.pt").is_file()
    assert results.variants[0].runs[0].rows[0].case == results.variants[1].runs[0].rows[0].case
    page = (tmp_path / "out" / "index.html").read_text()
    assert "slower" in page
    again = radseg("experiment", "ablate", toy, "-o", tmp_path / "out", *options)
    assert again.code == 0
    assert "started" not in again.err
