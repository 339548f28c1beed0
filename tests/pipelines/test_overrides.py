"""Inputs and config overrides as they stand on a command line."""

from typing import Any

import pytest

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.overrides import numbers, parse


@pytest.mark.parametrize(
    ("tokens", "paths", "overrides"),
    [
        (["a", "b c"], ["a", "b c"], {}),
        (["a", "--overlap", "0.25", "b"], ["a", "b"], {"overlap": 0.25}),
        (["--roi_size=[1, 2, 3]"], [], {"roi_size": [1, 2, 3]}),
        (["--network_def#without", '["aspp"]'], [], {"network_def#without": ["aspp"]}),
        (["--amp", "True", "--fold", "None", "--split", "test"], [], {"amp": True, "fold": None, "split": "test"}),
        (["--offset", "-3"], [], {"offset": -3}),
    ],
)
def test_overrides_are_told_from_inputs(tokens: list[str], paths: list[str], overrides: dict[str, Any]) -> None:
    assert parse(tokens) == (paths, overrides)


@pytest.mark.parametrize("tokens", [["--overlap"], ["-x", "1"], ["--", "1"]])
def test_an_option_that_makes_no_sense_is_refused(tokens: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse(tokens)


def test_numbers_have_commas_between() -> None:
    assert numbers("--folds", "0,1,12") == [0, 1, 12]
    assert numbers("--folds", None) is None
    with pytest.raises(ConfigError, match="--folds '0;1'"):
        numbers("--folds", "0;1")
