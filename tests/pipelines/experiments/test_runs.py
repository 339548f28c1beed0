"""A run trains and scores through the verbs, goes on where it was, and ends as a record, whatever ends it."""

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from radseg.networks import LungUNet
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.experiments import child, machine, runs
from radseg.pipelines.experiments.child import run_in_child
from radseg.pipelines.experiments.results import Row
from radseg.pipelines.experiments.runs import Job, fail, notes_on, read_run, run
from radseg.pipelines.train import Training
from radseg.pipelines.training.checkpoint import Checkpoint

SAMPLES = Path(__file__).parents[3] / "sample_data"
ROW = {"case": "a", "label": "lung", "metrics": {"dice": 0.5, "hd95_mm": None}}
SMALL = {"network_def#features": 4, "image_size": 32}
TRAINING = {**SMALL, "max_epochs": 2, "batch_size": 4, "device": "cpu"}


def job_in(folder: Path, **changes: Any) -> Job:
    job = Job(
        bundle="lung_xray",
        variant="full",
        fold=0,
        folder=str(folder / "full" / "fold_0"),
        datalist=str(SAMPLES / "lung_xray" / "datalist.json"),
        dataset_dir=str(SAMPLES / "lung_xray"),
        train=TRAINING,
        evaluate={**SMALL, "device": "cpu"},
        progress=False,
    )
    return replace(job, **changes)


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """Stand-ins that leave what the verbs leave; gives the overrides that each was called with."""
    calls: dict[str, list[dict[str, Any]]] = {"train": [], "evaluate": []}

    def train(bundle: str, **overrides: Any) -> Training:
        calls["train"].append(overrides)
        folder = Path(overrides["output_dir"])
        torch.save({"best_metric_epoch": 1}, folder / "last.pt")
        (folder / "model.pt").write_bytes(b"weights")
        (folder / "history.json").write_text('{"epochs": [{"epoch": 1, "loss": NaN}, {"epoch": 2, "loss": 0.5}]}')
        return Training(folder / "model.pt", epochs=2, best_metric=0.5, stopped_early=False)

    def evaluate(bundle: str, **overrides: Any) -> dict[str, Any]:
        calls["evaluate"].append(overrides)
        return {"rows": [ROW]}

    monkeypatch.setattr(runs, "train", train)
    monkeypatch.setattr(runs, "evaluate", evaluate)
    return calls


@contextmanager
def interrupting(number: signal.Signals) -> Iterator[None]:
    """Has a signal interrupt this process as Ctrl-C does."""
    handler = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, handler)


def test_a_run_trains_then_scores_the_test_split_with_its_own_weights(
    verbs: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    job = job_in(tmp_path)
    record = run(job)
    (trained,), (evaluated,) = verbs["train"], verbs["evaluate"]
    assert trained["image_size"] == 32
    assert trained["datalist"] == evaluated["datalist"] == job.datalist
    assert (trained["resume"], trained["overwrite"]) == (False, True)
    assert (evaluated["split"], evaluated["weights"]) == ("test", str(job.place / "model.pt"))
    assert evaluated["output_dir"] == str(job.place / "evaluation")
    assert record.run.done
    assert record.run.folder == "full/fold_0"
    assert (record.run.epochs, record.run.best_epoch) == (2, 1)
    assert record.run.history == ({"epoch": 1, "loss": None}, {"epoch": 2, "loss": 0.5})
    assert record.run.rows == (Row("a", "lung", {"dice": 0.5, "hd95_mm": None}),)
    assert record.run.notes == ("hd95_mm of 'lung' is undefined in 1 of 1 cases, which its mean leaves out",)
    assert set(record.run.seconds) == {"train", "evaluate"}
    assert record.run.peak_memory_bytes is not None
    assert record.run.peak_memory_bytes > 10**7
    network = LungUNet(features=4)
    assert record.parameters == sum(one.numel() for one in network.parameters())
    # a mean and a variance for each of the channels, which are a weight and a bias of the norm
    norms = [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert record.total_parameters == record.parameters + 2 * sum(one.num_features for one in norms)
    assert read_run(job.place) == record


def test_a_run_that_is_done_isnt_run_again(verbs: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    first = run(job_in(tmp_path))
    assert run(job_in(tmp_path)) == first
    assert len(verbs["train"]) == len(verbs["evaluate"]) == 1


def test_a_training_that_ended_isnt_repeated_when_the_scoring_was_stopped(
    verbs: dict[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(bundle: str, **overrides: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(job_in(tmp_path))
    assert read_run(job_in(tmp_path).place) is None
    assert run(job_in(tmp_path)).run.done
    assert len(verbs["train"]) == 1


def test_a_training_that_was_stopped_is_resumed(verbs: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    job = job_in(tmp_path)
    job.place.mkdir(parents=True)
    torch.save({"best_metric_epoch": 1}, job.place / "last.pt")
    run(job)
    assert (verbs["train"][0]["resume"], verbs["train"][0]["overwrite"]) == (True, False)


def test_a_record_says_which_commits_and_machine_computed_it_and_when(
    verbs: dict[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(bundle: str, **overrides: Any) -> None:
        raise KeyboardInterrupt

    job = job_in(tmp_path)
    monkeypatch.setattr(machine, "commit", lambda: "aaaaaaaaaaaa")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(job)
    monkeypatch.setattr(machine, "commit", lambda: "bbbbbbbbbbbb")
    run(job)
    monkeypatch.setattr(machine, "commit", lambda: "cccccccccccc")
    ended = run(job).run  # is done, and isn't touched again
    assert [origin.commit for origin in ended.origins] == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    assert {origin.machine.device for origin in ended.origins} == {"CPU"}
    assert ended.ended is not None
    assert datetime.fromisoformat(ended.ended).tzinfo is not None
    assert read_run(job.place) == run(job)


def test_a_record_of_before_that_was_kept_can_be_read(verbs: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    job = job_in(tmp_path)
    record = run(job)
    content = json.loads((job.place / "run.json").read_text())
    del content["run"]["origins"], content["run"]["ended"], content["total_parameters"]
    (job.place / "run.json").write_text(json.dumps(content))
    earlier = replace(record, run=replace(record.run, origins=(), ended=None), total_parameters=None)
    assert read_run(job.place) == earlier


def test_what_fails_is_recorded_in_a_line_and_tried_again(
    verbs: dict[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(bundle: str, **overrides: Any) -> None:
        raise ConfigError("the training diverged in epoch 3 (loss not finite);\nlower learning_rate")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train", diverged)
        failed = run(job_in(tmp_path))
    assert failed.run.status == "failed"
    assert failed.run.error == "the training diverged in epoch 3 (loss not finite); lower learning_rate"
    assert failed.run.rows == ()
    assert read_run(job_in(tmp_path).place) == failed
    assert run(job_in(tmp_path)).run.done
    assert read_run(job_in(tmp_path).place) == run(job_in(tmp_path))


def test_missing_weights_are_told(verbs: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    job = job_in(tmp_path)
    run(job)
    (job.place / "run.json").unlink()
    (job.place / "model.pt").unlink()
    error = run(job).run.error
    assert error is not None
    assert error.startswith(f"{job.place}/model.pt: missing, though the training ended; delete {job.place}")


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"run": {}}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(ConfigError, match=rf"run\.json: damaged \(.*\); delete {tmp_path} to run it again"):
            read_run(tmp_path)


def test_labels_that_no_case_has_are_told() -> None:
    rows = [
        Row("a", "bone", {"dice": 1.0, "voxels_truth": 0, "hd95_mm": None}),
        Row("b", "bone", {"dice": 0.0, "voxels_truth": 0, "hd95_mm": None}),
        Row("a", "lung", {"dice": 0.5, "voxels_truth": 3, "hd95_mm": 1.0}),
        Row("b", "lung", {"dice": 1.0, "voxels_truth": 0, "hd95_mm": None}),
    ]
    assert list(notes_on(rows)) == [
        "no case of this fold holds 'bone': its overlap is 1 where nothing was predicted, else 0",
        "hd95_mm of 'bone' is undefined in 2 of 2 cases, which its mean leaves out",
        "hd95_mm of 'lung' is undefined in 1 of 2 cases, which its mean leaves out",
    ]


def test_stopped_in_its_first_epochs_it_ends_as_if_it_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(job_in(tmp_path / "whole")).run
    assert whole.done, whole.error
    write = Checkpoint._write

    def stopped(self: Checkpoint, engine: Any) -> None:
        write(self, engine)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "_write", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(job_in(tmp_path / "stopped"))
    resumed = run(job_in(tmp_path / "stopped")).run
    assert whole.epochs == 2
    assert (resumed.rows, resumed.history, resumed.best_epoch) == (whole.rows, whole.history, whole.best_epoch)
    left = job_in(tmp_path / "whole").place
    assert {"model.pt", "last.pt", "history.json", "evaluation", "run.json"} <= {path.name for path in left.iterdir()}
    scored = json.loads((left / "evaluation" / "metrics.json").read_text())
    assert [row["metrics"]["dice"] for row in scored["rows"]] == [row.metrics["dice"] for row in whole.rows]
    assert (left / "evaluation" / "metrics.csv").is_file()
    _other_weights(tmp_path / "stopped")


def _other_weights(folder: Path) -> None:
    """Weights of another network in a fold are one line."""
    job = job_in(folder)
    (job.place / "run.json").unlink()
    (job.place / "model.pt.sha256").unlink()
    torch.save({"another.weight": torch.zeros(1)}, job.place / "model.pt")
    error = run(job).run.error
    assert error is not None
    assert "weights of another network" in error
    assert len(error.splitlines()) == 1


def test_a_run_in_a_process_of_its_own_leaves_its_record(tmp_path: Path) -> None:
    job = job_in(tmp_path, train={**TRAINING, "max_epochs": 1, "learning_rate": -1.0})
    run_in_child(job)
    record = read_run(job.place)
    assert record is not None
    assert record.run.status == "failed"
    assert "learning rate" in str(record.run.error)


@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_label_that_no_item_of_a_fold_s_list_has_is_told_with_the_scores(split: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(SAMPLES / "lung_xray", data, ignore=shutil.ignore_patterns("dicom"))
    lists = json.loads((data / "datalist.json").read_text())
    for item in lists[split]:
        with Image.open(data / item["label"]) as mask:
            Image.new(mask.mode, mask.size).save(data / item["label"])
    job = job_in(
        tmp_path, dataset_dir=str(data), datalist=str(data / "datalist.json"), train={**TRAINING, "max_epochs": 1}
    )
    run_in_child(job)
    record = read_run(job.place)
    assert record is not None
    assert record.run.done, record.run.error
    said = {
        "training": "no training item of this fold holds 'lung': its network can't have learned it",
        "validation": "no validation item of this fold holds 'lung': validation says nothing of it",
    }
    assert [note for note in record.run.notes if "holds" in note] == [said[split]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the run's process do something else."""
    return lambda code: monkeypatch.setattr(child, "_PROGRAM", (sys.executable, "-I", "-c", code))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", r"ended with SIGKILL \(out of memory, most often\)"),
        ("import os; os.kill(os.getpid(), 11)", "ended with SIGSEGV"),
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("pass", "ended with exit code 0"),
    ],
)
def test_a_process_that_dies_is_a_failed_run(
    program: Callable[[str], None], tmp_path: Path, code: str, said: str
) -> None:
    program(code)
    job = job_in(tmp_path)
    job.place.mkdir(parents=True)
    fail(job, "another reason, earlier")
    if code == "pass":
        (job.place / "failed.json").unlink()
    run_in_child(job)
    record = read_run(job.place)
    assert record is not None
    assert record.run.error is not None
    assert re.search(said, record.run.error)


def test_ctrl_c_has_the_run_end_in_order(program: Callable[[str], None], tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    program(
        "import os, pathlib, signal, sys\n"
        f"def save(*_): pathlib.Path({str(saved)!r}).touch(); raise SystemExit(143)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "sys.stdin.readline()\n"
        f"os.kill({os.getpid()}, signal.SIGINT)\n"
        "signal.pause()\n"
    )
    job = job_in(tmp_path)
    with interrupting(signal.SIGINT), pytest.raises(KeyboardInterrupt):
        run_in_child(job)
    assert saved.exists()
    assert read_run(job.place) is None


def test_a_sigterm_that_reaches_the_experiment_and_its_run_leaves_the_place_in_the_epoch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As systemd and Slurm send it: the run has its own and the one that the experiment hands on."""
    code = (
        "import os, signal\n"
        "from radseg.pipelines.experiments import child\n"
        "from radseg.pipelines.handlers import StepLoss\n"
        "came, noted = os.pipe()\n"
        "os.set_blocking(noted, False)\n"
        "share = StepLoss._share\n"
        "def then_both(self, engine):\n"
        "    share(self, engine)\n"
        "    if engine.state.iteration == 2:\n"
        "        signal.set_wakeup_fd(noted)\n"
        f"        for process in (os.getpid(), {os.getpid()}):\n"
        "            os.kill(process, signal.SIGTERM)\n"
        "            os.read(came, 1)\n"
        "        signal.set_wakeup_fd(-1)\n"
        "StepLoss._share = then_both\n"
        "child.main()\n"
    )
    monkeypatch.setattr(child, "_PROGRAM", (sys.executable, "-P", "-c", code))
    job = job_in(tmp_path, train={**TRAINING, "batch_size": 1})
    with interrupting(signal.SIGTERM), pytest.raises(KeyboardInterrupt):
        run_in_child(job)
    saved = torch.load(job.place / "last.pt", weights_only=True)
    assert (saved["epoch"], saved["position"]["steps"]) == (0, 2)
    assert read_run(job.place) is None
