"""torchrun trains every bundle, as MONAI's command and as ours: one set of files, one voice, one end."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

import radseg.bundles
from radseg.pipelines.experiments.plan import read_plan

NAMES = radseg.bundles.names()
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
CLI = "from radseg.pipelines.cli import main; main()"


@pytest.mark.parametrize("bundle", NAMES)
def test_what_it_changes_is_there_to_be_changed(bundle: str) -> None:
    """MONAI adds an unknown key without a word; only what several processes do differently may be in it."""
    root = Path(radseg.bundles.root(bundle))
    parser = ConfigParser(json.loads((root / "train.json").read_text()))
    changes = json.loads((root / "multi_gpu_train.json").read_text())
    new = {key for key in changes if key.removeprefix("+") not in parser}
    assert new == {"validate#dataloader#sampler", "finalize"}
    assert changes["initialize"][1:] == parser["initialize"]


@pytest.mark.parametrize("bundle", NAMES)
def test_all_bundles_have_the_same(bundle: str) -> None:
    texts = {(Path(radseg.bundles.root(name)) / "multi_gpu_train.json").read_text() for name in (bundle, NAMES[0])}
    assert len(texts) == 1


def _torchrun(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TORCHRUN, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def _radseg(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = cwd / "radseg_command.py"
    script.write_text(CLI)
    return _torchrun([str(script), *arguments], cwd)


@pytest.mark.long
@pytest.mark.parametrize("bundle", ["spine", "lung_xray", "pelvis_xray"])  # the last: one image to validate with
def test_monai_s_command_trains_in_two_processes_that_write_once(
    bundle: str, small_options: Callable[[str], list[str]], tmp_path: Path
) -> None:
    root = Path(radseg.bundles.root(bundle))
    configs = f"['{root / 'train.json'}','{root / 'multi_gpu_train.json'}']"
    command = [
        "-m",
        "monai.bundle",
        "run",
        "training",
        "--config_file",
        configs,
        "--max_epochs",
        "1",
        "--device",
        "cpu",
    ]
    ended = _torchrun([*command, *small_options(bundle)], tmp_path)
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "runs" / bundle
    left = {path.name for path in run.iterdir()}
    assert left == {"model.pt", "model.pt.sha256", "last.pt", "history.json", "curves.png", "tensorboard"}
    assert len(list((run / "tensorboard").iterdir())) == 2  # trainer's and validator's, of one process
    history = json.loads((run / "history.json").read_text())
    assert any(name.startswith("val_") for name in history["epochs"][0])
    assert ended.stderr.count("epoch 1/1") == 1


@pytest.mark.long
def test_an_adversarial_training_runs_in_two_processes(
    small_options: Callable[[str], list[str]], tmp_path: Path
) -> None:
    variant = {**read_plan("spine", "compare").variants["SpineGAN"], "network_def#features": [4, 8, 16]}
    (tmp_path / "variant.json").write_text(json.dumps(variant))
    small = small_options("spine")
    at = small.index("--network_def#features")
    ended = _radseg(
        tmp_path, "train", "spine", "-o", str(tmp_path / "run"), "--device", "cpu", "--max_epochs", "1",
        "--trust-config", "--args_file", str(tmp_path / "variant.json"), *small[:at], *small[at + 2 :],
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("done after 1 epoch") == 1
    epoch = json.loads((tmp_path / "run" / "history.json").read_text())["epochs"][0]
    assert 0 < epoch["discriminator_loss"] < 10
    assert {"model.pt", "last.pt"} <= {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.long
def test_two_processes_told_to_stop_go_on_as_if_they_hadn_t_been(
    small_options: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """AMP on, dropout and augmentation as in the bundle; the second process gets the signal first."""
    options = [*small_options("lung_ct"), "--batch_size", "2", "--device", "cpu", "--max_epochs", "2"]
    whole = _radseg(tmp_path, "train", "lung_ct", "-o", str(tmp_path / "whole"), *options)
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.count("done after 2 epochs") == 1

    stopping = tmp_path / "stopping.py"
    stopping.write_text(
        "import os, signal\n"
        "from radseg.pipelines.handlers import StepLoss\n"
        "share = StepLoss._share\n"
        "def then_stop(self, engine):\n"
        "    share(self, engine)\n"
        f"    if os.environ['RANK'] == '1' and engine.state.iteration == 3:\n"
        f"        signal.raise_signal({int(signal.SIGTERM)})\n"
        "StepLoss._share = then_stop\n" + CLI
    )
    arguments = ["train", "lung_ct", "-o", str(tmp_path / "stopped"), *options]
    stopped = _torchrun([str(stopping), *arguments], tmp_path)
    assert stopped.returncode != 0
    assert stopped.stderr.count("interrupted; what was finished is kept, --resume goes on where it stopped") == 1
    assert "143" in stopped.stderr  # of torchrun's summary; its own exit code is 1 whatever its processes' are
    assert len(torch.load(tmp_path / "stopped" / "last.pt", weights_only=True)["losses"]) == 3
    resumed = _radseg(tmp_path, *arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    for name in ("whole", "stopped"):
        assert (tmp_path / name / "history.json").read_text() == (tmp_path / "whole" / "history.json").read_text()
    weights = [torch.load(tmp_path / name / "last.pt", weights_only=True)["network"] for name in ("whole", "stopped")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.long
def test_when_one_process_fails_all_end_and_one_line_says_why(
    small_options: Callable[[str], list[str]], tmp_path: Path
) -> None:
    script = tmp_path / "failing.py"
    script.write_text(
        "import os\n"
        "from radseg.pipelines.errors import InputError\n"
        "from radseg.pipelines.training.epoch_dataset import EpochDataset\n"
        "take = EpochDataset.__getitem__\n"
        "def broken(self, index):\n"
        "    if os.environ['RANK'] == '1' and self.epoch == 1:\n"
        "        raise InputError('lung02.nii.gz: went away')\n"
        "    return take(self, index)\n"
        "EpochDataset.__getitem__ = broken\n" + CLI
    )
    options = ["-o", str(tmp_path / "run"), "--device", "cpu", "--max_epochs", "1", *small_options("lung_ct")]
    ended = _torchrun([str(script), "train", "lung_ct", *options], tmp_path)
    assert ended.returncode != 0
    assert re.findall(r"^error: .*", ended.stderr, re.MULTILINE) == ["error: lung02.nii.gz: went away"]
    assert not (tmp_path / "run" / "model.pt").exists()


def test_processes_that_know_nothing_of_each_other_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from radseg.pipelines.errors import ConfigError
    from radseg.pipelines.train import prepare_output

    monkeypatch.setitem(os.environ, "LOCAL_RANK", "0")
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="give --config_file the bundle's multi_gpu_train"):
        prepare_output(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_bundle_that_says_nothing_of_several_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    from radseg.pipelines.errors import ConfigError
    from radseg.pipelines.train import train

    folder = tmp_path / "fifth"
    shutil.copytree(radseg.bundles.root("spine"), folder, ignore=shutil.ignore_patterns("models", "multi_gpu*"))
    for name, value in (("LOCAL_RANK", "0"), ("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    overrides: dict[str, Any] = {"output_dir": str(tmp_path / "run")}
    with pytest.raises(ConfigError, match="has no multi_gpu_train"):
        train(folder, trust_config=True, **overrides)
