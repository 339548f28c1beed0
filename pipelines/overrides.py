"""What stands on a command line beside the options: inputs, and config overrides as `--key value`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.store.settings import refuse_secret

_NUMBER = re.compile(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?")  # of those that JSON doesn't take


def parse(tokens: list[str] | None) -> tuple[list[str], dict[str, Any]]:
    """Positional arguments and config overrides (`--key value`, `--key=value`) of a command line.

    A key's dashes are read as underscores, as those of options are (`--top-level` is `top_level`); what follows a `#`
    stays as it is.

    `--args_file FILE` takes overrides from a JSON object, as MONAI's bundle commands do; those beside it come first.

    Raises:
        ConfigError: an option without a value, or a file of arguments that can't be read.
    """
    positional: list[str] = []
    overrides: dict[str, Any] = {}
    from_file: dict[str, Any] = {}
    rest = iter(tokens or [])
    for token in rest:
        refuse_secret("argument", token)
        if not token.startswith("-") or Path(token).exists():
            positional.append(token)
            continue
        key, equals, value = token.removeprefix("--").partition("=")
        if not token.startswith("--") or not key:
            raise ConfigError(f"no such option {token!r}; `radseg VERB --help` lists them")
        if not equals:
            following = next(rest, None)
            if following is None:
                raise ConfigError(f"{token} needs a value: {token} VALUE")
            value = following
        key = _spelt(key)
        if key == "args_file":
            from_file |= _arguments(Path(value))
        else:
            overrides[key] = _value(value)
    return positional, {**from_file, **overrides}


def with_paths(rest: list[str] | None, **paths: str | None) -> dict[str, Any]:
    """Config overrides of a verb that takes no inputs, and the paths that were given as options.

    Raises:
        ConfigError: something stands there that is no override.
    """
    positional, overrides = parse(rest)
    if positional:
        raise ConfigError(f"unexpected argument {positional[0]!r}; overrides are written --KEY VALUE")
    return {**given(**paths), **overrides}


def told_apart(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which overrides differ, each with both its values; "" where none does.

    Args:
        before: config ids and values of an earlier run.
        now: those of this one.
    """

    def said(overrides: Mapping[str, Any], key: str) -> str:
        return json.dumps(overrides[key]) if key in overrides else "the bundle's own"

    differ = [key for key in dict.fromkeys([*before, *now]) if said(before, key) != said(now, key)]
    return "; ".join(f"--{key} was {said(before, key)}, is {said(now, key)}" for key in differ)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {key: value for key, value in options.items() if value is not None}


def numbers(option: str, text: str | None) -> list[int] | None:
    """Whole numbers with commas between."""
    try:
        return None if text is None else [int(number) for number in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: give whole numbers with commas between, such as 0,1,2") from error


def number_or_path(text: str | None) -> float | str | None:
    """A number where the text is one, else the text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _spelt(key: str) -> str:
    """A config id whose top-level key has underscores: MONAI's `@key` can't name one with dashes."""
    end = re.match("[^#:]*", key)
    assert end is not None
    return end[0].replace("-", "_") + key[end.end() :]


def _arguments(file: Path) -> dict[str, Any]:
    """The overrides that a file holds."""
    try:
        arguments = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{file}: no JSON ({error}); --args_file takes an object of overrides") from error
    if not isinstance(arguments, dict):
        raise ConfigError(f"{file}: holds no JSON object; --args_file takes an object of overrides")
    return arguments


def _value(text: str) -> Any:
    """A config value as JSON; Python's True, False, None, .5 and 5. too; anything else is text."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except json.JSONDecodeError:
        return float(text) if _NUMBER.fullmatch(text) else text
