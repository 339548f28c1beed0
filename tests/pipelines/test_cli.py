"""The command line: help with an example for every verb, overrides as MONAI takes them, quiet when asked."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import ConfigError, InputError, WeightsError

ROOT = Path(__file__).parents[2]
DATA_VERBS = ("import", "check", "sample", "drr", "ct")
VERBS = (
    *(
        [verb]
        for verb in ("segment", "train", "evaluate", "measure", "explain", "validate", "listen", "pack", "unpack")
    ),
    *(["data", verb] for verb in DATA_VERBS),
    *(["label", verb] for verb in ("start", "token", "versions", "rollback")),
)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(verb: list[str], radseg: Callable[..., Any]) -> None:
    ended = radseg(*verb, "--help")
    assert ended.code == 0
    assert f"Example: radseg {' '.join(verb)}" in " ".join(ended.out.split())


def test_the_version_is_that_of_the_package(radseg: Callable[..., Any]) -> None:
    ended = radseg("--version")
    assert (ended.code, ended.out) == (0, f"radseg {version('radseg')}\n")


def test_quiet_says_nothing(radseg: Callable[..., Any], small_weights: dict[str, Path], tmp_path: Path) -> None:
    small = ["--network_def#features", "[4,8,16,32]", "--image_size", "64"]
    image = ROOT / "sample_data" / "lung_ct" / "slices"
    ended = radseg("segment", "lung_ct", image, "-o", tmp_path, "--weights", small_weights["lung_ct"], *small, "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


@pytest.mark.parametrize("options", [(), ("-q",), ("--progress", "false")], ids=" ".join)
def test_what_failed_is_said_once_with_progress_or_without(
    options: tuple[str, ...],
    radseg: Callable[..., Any],
    small_weights: dict[str, Path],
    small_options: Callable[[str], list[str]],
    tmp_path: Path,
) -> None:
    image = ROOT / "sample_data" / "lung_xray" / "imagesTr" / "chest01_pa.png"
    command = ("segment", "lung_xray", image, "-o", tmp_path, "--weights", small_weights["lung_xray"])
    small = small_options("lung_xray")
    assert radseg(*command, *small, "-q").code == 0
    ended = radseg(*command, *small, "--precision", "fast", *options)
    assert ended.code == 1
    assert ended.err.count("failed chest01_pa: ") == 1
    assert ended.err.count("use --overwrite") == 1


def test_files_that_are_no_images_are_told_of_once_unless_quiet(
    radseg: Callable[..., Any],
    small_weights: dict[str, Path],
    small_options: Callable[[str], list[str]],
    tmp_path: Path,
) -> None:
    shutil.copy(ROOT / "sample_data" / "lung_xray" / "imagesTr" / "chest01_pa.png", tmp_path)
    for name in ("letter.txt", "list.csv"):
        (tmp_path / name).write_text("no image")
    options = ("--weights", small_weights["lung_xray"], *small_options("lung_xray"))
    ended = radseg("segment", "lung_xray", tmp_path, "-o", tmp_path / "out", *options)
    assert ended.code == 0
    said = "note: 2 files in the folders are no images that can be taken here: passed over (.csv, .txt)"
    assert ended.err.count(said) == 1
    assert radseg("segment", "lung_xray", tmp_path, "-o", tmp_path / "out", *options, "-q").err == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("ct.nii.gz: damaged; copy it again"), 1),
        (ConfigError("no bundle 'x'"), 2),
        (WeightsError("model.pt: no such weights file"), 2),
        (ZeroDivisionError("not foreseen"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cant_be_used_is_told_from_wrong_usage_by_the_exit_code(
    error: Exception, code: int, radseg: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr("radseg.pipelines.train.train", failing)
    ended = radseg("train", "spine")
    assert ended.code == code
    assert str(error) in ended.err
    assert ended.err.count("\n") == 1


def test_help_and_readme_say_the_same_of_exit_codes(radseg: Callable[..., Any]) -> None:
    codes = (
        "0 all done, 1 some cases failed or none was usable, 2 wrong usage, config or weights, "
        "130 or 143 stopped by Ctrl-C or SIGTERM."
    )
    assert f"Exit codes: {codes}" in " ".join((ROOT / "README.md").read_text().split())
    assert f"Exit codes: {codes}" in " ".join(radseg("--help").out.split())


def test_an_unexpected_argument_is_named(radseg: Callable[..., Any]) -> None:
    ended = radseg("train", "spine", "DATA")
    assert ended.code == 2
    assert "unexpected argument 'DATA'" in ended.err


@pytest.mark.parametrize(
    "command",
    [
        ("segment", "spine", "nowhere", "-o", "out"),
        ("explain", "spine", "nowhere", "-o", "out"),
        ("measure", "nowhere", "--as", "spine"),
        ("train", "spine", "--dataset_dir", "nowhere"),
        ("evaluate", "spine", "--dataset_dir", "nowhere"),
    ],
    ids=lambda command: command[0],
)
def test_a_mistyped_path_is_told_before_any_heavy_library_is_loaded(command: tuple[str, ...], tmp_path: Path) -> None:
    program = (
        "import sys\nfrom radseg.pipelines.cli import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules, 'monai' in sys.modules)"
    )
    given = [sys.executable, "-c", program, *command]
    ended = subprocess.run(given, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "error: nowhere: no such file or folder; check the path\n"
    assert ended.stdout == "False False\n"


def test_a_device_that_isnt_there_is_one_line(radseg: Callable[..., Any], tmp_path: Path) -> None:
    ended = radseg("segment", "spine", ROOT / "sample_data" / "spine", "-o", tmp_path, "--device", "cuba")
    assert ended.code == 2
    assert ended.err.startswith("error: device 'cuba' is not known")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(("verb", "hint"), [("segment", "run again to go on"), ("train", "--resume goes on")])
def test_an_interrupted_verb_says_how_to_go_on(
    verb: str, hint: str, radseg: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"radseg.pipelines.{verb}.{verb}", interrupted)
    arguments = ["spine", tmp_path] if verb == "segment" else ["spine"]
    ended = radseg(verb, *arguments, "-o", tmp_path / "out")
    assert ended.code == 130
    assert ended.err.startswith("interrupted; what was finished is kept")
    assert hint in ended.err


def test_sigterm_ends_a_verb_as_ctrl_c_does(
    radseg: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("radseg.pipelines.segment.segment", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    ended = radseg("segment", "spine", tmp_path, "-o", tmp_path / "out")
    assert (ended.code, ended.err) == (143, "interrupted; what was finished is kept, run again to go on\n")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_connection_string_on_the_command_line_is_refused_and_not_repeated(
    radseg: Callable[..., Any], tmp_path: Path
) -> None:
    secret = "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=c2VjcmV0"
    for arguments in (["segment", "spine", secret, "-o", tmp_path], ["train", "spine", secret]):
        ended = radseg(*arguments)
        assert ended.code == 2
        assert "c2VjcmV0" not in ended.out + ended.err
        assert len(ended.err.splitlines()) == 1
