"""What a search varies, as the bundle's `experiments.json` names it: config keys, their ranges, the metric."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from radseg.pipelines.bundle_loader import find_bundle
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.experiments.plan import FILE, read_section

_TYPES = ("float", "int", "categorical")
_FIELDS = ("type", "low", "high", "log", "step", "choices", "keys")


class Suggests(Protocol):
    """What a parameter asks for a value: a trial of Optuna's."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...  # noqa: D102
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...  # noqa: D102
    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class Parameter:
    """One searched setting.

    Attributes:
        name: what it is called in results.
        keys: config ids that get its value; several move together, such as the probabilities of all augmentations.
        type: `float`, `int` or `categorical`.
        low: smallest value (numbers).
        high: largest value (numbers).
        log: whether the logarithm is searched evenly.
        step: distance of the values tried; None for any.
        choices: the values to choose from (categorical).
    """

    name: str
    keys: tuple[str, ...]
    type: str = "float"
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Suggests) -> Any:
        """The value that `trial` chooses."""
        if self.type == "categorical":
            return trial.suggest_categorical(self.name, list(self.choices))
        if self.type == "int":
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    @property
    def example(self) -> Any:
        """A value that it can take."""
        return self.choices[0] if self.type == "categorical" else int(self.low) if self.type == "int" else self.low


@dataclass(frozen=True)
class SearchSpace:
    """The settings that are searched, and what judges them.

    Attributes:
        metric: validation metric in a training's history, such as `val_dice`.
        direction: `maximize` or `minimize`.
        parameters: in the order of the file.
    """

    metric: str
    direction: Literal["maximize", "minimize"]
    parameters: tuple[Parameter, ...]

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """A value for each parameter, by its name."""
        return {parameter.name: parameter.suggest(trial) for parameter in self.parameters}

    def overrides(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Config overrides, as `radseg train` takes them, of values by parameter name."""
        return {key: values[one.name] for one in self.parameters for key in one.keys}

    def without(self, fixed: Mapping[str, Any]) -> "SearchSpace":
        """The space less what the user gave a value; config ids spelt with :: count as with #.

        Raises:
            ConfigError: nothing is left to search.
        """
        given = {key.replace("::", "#") for key in fixed}
        left = []
        for one in self.parameters:
            keys = tuple(key for key in one.keys if key not in given)
            if keys:
                left.append(Parameter(**{**vars(one), "keys": keys}))
        if not left:
            raise ConfigError(f"every searched setting was given a value ({', '.join(sorted(given))}); leave one out")
        return SearchSpace(self.metric, self.direction, tuple(left))


def read_search_space(bundle: str | Path, trust_config: bool = False) -> SearchSpace:
    """The search that a bundle's `experiments.json` names.

    Args:
        bundle: name or folder.
        trust_config: allow a bundle folder that isn't radseg's own.

    Raises:
        ConfigError: there is no such file or section, or a parameter of it can't be searched.
    """
    where = f"{find_bundle(bundle, trust_config).name}/{FILE}"
    section = read_section(bundle, "search", trust_config) or {}
    if not isinstance(section.get("parameters"), dict) or not section["parameters"]:
        raise ConfigError(f"{where}: plans no search; write a section 'search' with 'metric' and 'parameters' into it")
    metric, direction = section.get("metric"), section.get("direction", "maximize")
    if not isinstance(metric, str) or direction not in ("maximize", "minimize"):
        raise ConfigError(f"{where}: search wants a 'metric' such as val_dice, and 'direction' maximize or minimize")
    parameters = tuple(_parameter(name, entry, where) for name, entry in section["parameters"].items())
    keys = [key for one in parameters for key in one.keys]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where}: search has two parameters for {twice!r}; leave one out")
    return SearchSpace(metric, direction, parameters)


def _parameter(name: str, entry: Any, where: str) -> Parameter:
    def refuse(trouble: str) -> ConfigError:
        return ConfigError(f"{where}: search, {name}: {trouble}")

    if not isinstance(entry, dict) or not set(entry) <= set(_FIELDS):
        raise refuse(f"must be an object of {', '.join(_FIELDS)}")
    kind = entry.get("type", "categorical" if "choices" in entry else "float")
    keys = entry.get("keys", [name])
    if kind not in _TYPES:
        raise refuse(f"type {kind!r} is unknown; there are {', '.join(_TYPES)}")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise refuse("keys must be a list of config keys")
    if kind == "categorical":
        choices = entry.get("choices")
        if not isinstance(choices, list) or not choices or not all(_is_plain(one) for one in choices):
            raise refuse("choices must be a list of numbers, words, true, false or null")
        return Parameter(name, tuple(keys), kind, choices=tuple(choices))
    low: Any = entry.get("low")
    high: Any = entry.get("high")
    log, step = entry.get("log", False), entry.get("step")
    if not _is_number(low, kind) or not _is_number(high, kind) or low > high:
        raise refuse(f"low and high must be {'whole ' if kind == 'int' else ''}numbers, low not above high")
    if not isinstance(log, bool) or (log and low <= 0) or (log and step is not None):
        raise refuse("log is true or false; with true, low is above 0 and there is no step")
    if step is not None and (not _is_number(step, kind) or step <= 0):
        raise refuse("step must be a number above 0")
    if kind == "float":
        low, high = float(low), float(high)
    return Parameter(name, tuple(keys), kind, low, high, log, step)


def _is_number(value: Any, kind: str) -> bool:
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return numeric and (kind == "float" or value == int(value))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
