"""What a batch survives: kills at any moment, a full disk, broken inputs by the dozen."""

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dicom_factory
import nibabel as nib
import numpy as np
import pydicom
import pytest

from radseg.pipelines.manifest import Manifest
from radseg.pipelines.segment import segment

HERE = Path(__file__).parent
KILLS = 20
SEED = 5


@pytest.fixture
def series(tmp_path: Path) -> Callable[[int], Path]:
    """Writes as many tiny CT series of noise, one a folder, and gives the folder that holds them."""

    def write(count: int) -> Path:
        random_state = np.random.default_rng(0)
        for number in range(count):
            hu = random_state.integers(-1000, 400, (16, 16, 4)).astype(np.int16)
            uid = f"1.2.826.0.1.3680043.8.498.7.{number + 1}"
            dicom_factory.write_series(tmp_path / "in" / f"{number:04d}", hu, uid=uid)
        return tmp_path / "in"

    return write


def _settled(output: Path) -> dict[str, str]:
    """What must be the same however often a batch was killed: files, voxels and numbers, without times."""
    there = {}
    for file in sorted(output.rglob("*")):
        name = file.relative_to(output).as_posix()
        if file.name == "statistics.json":
            there[name] = file.read_text()
        elif file.name == "mask.nii.gz":
            there[name] = hashlib.sha256(np.asarray(nib.load(file).dataobj).tobytes()).hexdigest()
        elif file.suffix == ".dcm":
            dataset = pydicom.dcmread(file)
            there[name] = f"{dataset.SOPInstanceUID} {hashlib.sha256(dataset.PixelData).hexdigest()}"
        elif file.suffix == ".png":
            there[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.is_dir():
            there[name] = "folder"
    return there


Order = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def order() -> Iterator[Order]:
    """Has a batch run in a process that may be killed, and says how it ended."""
    command = [sys.executable, str(HERE / "support" / "killed_batch.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(what: dict[str, Any]) -> dict[str, Any]:
            process.stdin.write(json.dumps(what) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield run
        process.stdin.close()


def test_a_batch_killed_at_any_file_and_run_again_ends_as_if_nothing_had_been(
    order: Order,
    series: Callable[[int], Path],
    small: dict[str, dict[str, Any]],
    small_weights: dict[str, Path],
    tmp_path: Path,
) -> None:
    inputs = series(3)
    common = {
        "bundle": "lung_ct", "inputs": str(inputs), "weights": str(small_weights["lung_ct"]),
        "output_type": "dicom_seg", "runtime": "torch", **small["lung_ct"],
    }  # fmt: skip

    def run(output: Path, kill_at: int | None) -> dict[str, Any]:
        arguments = {**common, "output_dir": str(output)}
        return order({"arguments": arguments, "folder": str(output), "kill_at": kill_at})

    whole = run(tmp_path / "whole", None)
    expected = _settled(tmp_path / "whole")
    assert whole["failed"] == {}
    assert sum(name.endswith("mask.nii.gz") for name in expected) == 3
    points = random.Random(SEED).sample(range(1, whole["touched"] + 1), KILLS)
    for number, point in enumerate(points):
        output = tmp_path / f"killed-{number}"
        assert run(output, point)["killed"]
        assert run(output, None)["failed"] == {}
        assert _settled(output) == expected
        lines = [row["case"] for row in Manifest(output / "manifest.jsonl").read() if row["status"] == "done"]
        assert len(lines) == len(set(lines)) == 3


def test_a_full_disk_fails_the_case_in_one_line_and_the_next_run_does_it(
    monkeypatch: pytest.MonkeyPatch,
    series: Callable[[int], Path],
    small: dict[str, dict[str, Any]],
    small_weights: dict[str, Path],
    tmp_path: Path,
) -> None:
    inputs = series(2)
    options = {"weights": small_weights["lung_ct"], "progress": False, **small["lung_ct"]}
    real, full = os.fsync, [True]

    def fsync(descriptor: int) -> None:
        if full[0] and str(Path(f"/proc/self/fd/{descriptor}").resolve()).endswith("mask.nii.gz"):
            full[0] = False
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    batch = segment("lung_ct", inputs, tmp_path / "out", **options)
    assert len(batch.done) == 1
    [(failed, reason)] = batch.failed.items()
    assert "No space left on device" in reason
    assert "free some space" in reason
    assert not any(failed in path.name for path in (tmp_path / "out").iterdir())
    again = segment("lung_ct", inputs, tmp_path / "out", **options)
    assert (again.done, again.skipped, again.failed) == ([failed], batch.done, {})


STOPPED = """
import os, signal, sys

number, out, *arguments = sys.argv[1:]
finished = []

def hook(event, touched):
    if event == "os.rename" and os.path.dirname(touched[1]) == out and not os.path.basename(touched[1]).startswith("."):
        finished.append(touched[1])
        if len(finished) == 2:
            os.kill(os.getpid(), int(number))

# in the background of a shell Ctrl-C is ignored, and so it would be by a test that runs there
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(hook)
sys.argv[1:] = arguments
from radseg.pipelines.cli import main
main()
"""
"""The command line, told to stop by a signal as it moves its second case into place."""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_batch_told_to_stop_keeps_what_is_finished_and_sums_it_up(
    number: signal.Signals, code: int, series: Callable[[int], Path], small_options: Callable[[str], list[str]],
    small_weights: dict[str, Path], tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    command = [sys.executable, "-c", STOPPED, str(int(number)), out, "segment", "lung_ct", series(40)]
    options = ["-o", out, "-j", "2", "--weights", small_weights["lung_ct"], *small_options("lung_ct")]
    process = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    printed, told = process.stdout, process.stderr
    assert process.returncode == code
    assert (printed, told) == ("", "interrupted; what was finished is kept, run again to go on\n")
    done = {row["case"] for row in Manifest(out / "manifest.jsonl").read()}
    assert 0 < len(done) < 40
    assert {path.name for path in out.iterdir()} == {*done, "manifest.jsonl", "summary.csv", "index.html"}
    assert len((out / "summary.csv").read_text().splitlines()) == 1 + len(done)


@pytest.mark.long
def test_a_thousand_series_with_thirty_broken_ones_give_970_masks_and_thirty_reasons(
    series: Callable[[int], Path], small: dict[str, dict[str, Any]], small_weights: dict[str, Path], tmp_path: Path
) -> None:
    inputs = series(1000)
    broken = random.Random(SEED).sample(range(1000), 30)
    for number, which in enumerate(broken):
        file = sorted((inputs / f"{which:04d}").iterdir())[1]
        if number % 3 == 0:
            file.write_bytes(file.read_bytes()[:-100])  # pixels cut off
        elif number % 3 == 1:
            file.unlink()
            sorted((inputs / f"{which:04d}").iterdir())[0].unlink()  # two of the three slices there must be are left
        else:
            dataset = pydicom.dcmread(file)
            dataset.RescaleSlope = 0
            dataset.save_as(file)
    options = {
        "weights": small_weights["lung_ct"],
        "progress": False,
        "workers": 2,
        "min_slices": 3,
        **small["lung_ct"],
    }
    batch = segment("lung_ct", inputs, tmp_path / "out", **options)
    masks = list((tmp_path / "out").glob("*/mask.nii.gz"))
    reasons = [*batch.failed.values(), *batch.refused.values()]
    assert (len(batch.done), len(masks)) == (970, 970)
    assert len(reasons) == 30
    assert all("\n" not in reason and reason for reason in reasons)
    assert sum("cut off" in reason for reason in reasons) == 10
    assert sum("2 slices" in reason for reason in reasons) == 10
    assert sum("RescaleSlope is 0" in reason for reason in reasons) == 10
