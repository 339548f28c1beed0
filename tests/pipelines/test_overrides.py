"""Inputs and config overrides as they stand on a command line."""

from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.overrides import numbers, parse, told_apart


@pytest.mark.parametrize(
    ("tokens", "paths", "overrides"),
    [
        (["a", "b c"], ["a", "b c"], {}),
        (["a", "--overlap", "0.25", "b"], ["a", "b"], {"overlap": 0.25}),
        (["--roi_size=[1, 2, 3]"], [], {"roi_size": [1, 2, 3]}),
        (["--network_def#without", '["aspp"]'], [], {"network_def#without": ["aspp"]}),
        (["--amp", "True", "--fold", "None", "--split", "test"], [], {"amp": True, "fold": None, "split": "test"}),
        (["--offset", "-3"], [], {"offset": -3}),
        (["--share", ".5", "--rate", "1.", "--shift", "-.5e-3"], [], {"share": 0.5, "rate": 1.0, "shift": -0.0005}),
        (["--note", ".5mm", "--file", "."], [], {"note": ".5mm", "file": "."}),
        (["--top-level", "T5", "a"], ["a"], {"top_level": "T5"}),
        (["--top-level=--x-y", "--note", "--top-level"], [], {"top_level": "--x-y", "note": "--top-level"}),
        (["--network-def#a-b", "c-d"], [], {"network_def#a-b": "c-d"}),
        (["--network-def::a-b", "1"], [], {"network_def::a-b": 1}),
    ],
)
def test_overrides_are_told_from_inputs(tokens: list[str], paths: list[str], overrides: dict[str, Any]) -> None:
    assert parse(tokens) == (paths, overrides)


@pytest.mark.parametrize("tokens", [["--overlap"], ["-x", "1"], ["--", "1"]])
def test_an_option_that_makes_no_sense_is_refused(tokens: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse(tokens)


@pytest.mark.parametrize("option", [["--args_file"], ["--args-file"]])
def test_a_file_s_overrides_give_way_to_those_beside_it(option: list[str], tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text('{"max_epochs": 3, "network_def#features": [4, 8], "amp": true}')
    paths, overrides = parse(["--max_epochs", "9", *option, str(file), "image.png", "--seed", "1"])
    assert paths == ["image.png"]
    assert overrides == {"max_epochs": 9, "network_def#features": [4, 8], "amp": True, "seed": 1}


@pytest.mark.parametrize("text", [None, "{", "[1]", b"\xff"])
def test_a_file_of_overrides_that_cannot_be_read_is_named(text: str | bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=r"recipe\.json: .*--args_file takes an object"):
        parse(["--args_file", str(file)])


def test_numbers_have_commas_between() -> None:
    assert numbers("--folds", "0,1,12") == [0, 1, 12]
    assert numbers("--folds", None) is None
    with pytest.raises(ConfigError, match="--folds '0;1'"):
        numbers("--folds", "0;1")


def test_overrides_that_differ_are_told_with_both_values() -> None:
    before = {"image_size": 64, "loss#sigmoid": True, "amp": True}
    now = {"image_size": 128, "amp": True, "blur_size": 3}
    assert told_apart(before, now) == (
        "--image_size was 64, is 128; --loss#sigmoid was true, is the bundle's own; "
        "--blur_size was the bundle's own, is 3"
    )
    assert told_apart(now, dict(now)) == ""
