"""A bundle's name or folder becomes a workflow that is ready to run, its overrides checked; MONAI's own way inside."""

import copy
import difflib
import inspect
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from monai.bundle import ComponentLocator, ConfigWorkflow
from monai.utils import optional_import

import radseg.bundles
from radseg.pipelines.errors import ConfigError, one_line, radseg_cause
from radseg.pipelines.io.store.destination import staged
from radseg.pipelines.io.store.local_copy import urls_in_errors
from radseg.pipelines.io.store.settings import refuse_secret, use_storage
from radseg.pipelines.io.store.url import absolute

# config file -> (what MONAI calls such a workflow, the id that runs it)
CONFIGS = {"train": ("train", "training"), "evaluate": ("infer", "evaluating"), "inference": ("infer", "inferring")}
_NO_TARGET = re.compile(r"Cannot locate class or function path: '([^']+)'")
_CHOICE = re.compile(r"one of ([\w-]+(?:, [\w-]+)*), got '([^']+)'")
# keys that say where and how to run, not what to make of an image
RUN_KEYS = ("dataset_dir", "datalist", "output_dir", "weights", "lung_mask", "lobes", "device", "series", "overwrite",
            "workers", "temperature", "progress", "num_workers", "resume", "bundle_root", "storage", "output_type",
            "seg_type", "send_to", "deidentify", "cache_dir", "cache_limit_gb", "encoder_weights")  # fmt: skip
_PATH_KEYS = ("dataset_dir", "datalist", "output_dir", "weights", "temperature", "lung_mask", "lobes", "deidentify",
              "cache_dir", "encoder_weights")  # fmt: skip
_SPECIAL_KEYS = ("_disabled_", "_requires_", "_mode_", "_desc_")


def find_bundle(bundle: str | Path, trust_config: bool = False) -> Path:
    """Folder of a bundle given by its name or its folder.

    Raises:
        ConfigError: no such bundle (the nearest name is offered), or a folder that isn't radseg's own without
            `trust_config`, since a config is code.
    """
    own = Path(radseg.bundles.__file__).parent
    names = radseg.bundles.names()
    if str(bundle) in names:
        return own / str(bundle)
    folder = Path(bundle)
    if not (radseg.bundles.configs(folder) / "metadata.json").is_file():
        nearest = difflib.get_close_matches(str(bundle), names, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(names)}"
        raise ConfigError(f"no bundle {str(bundle)!r}: {hint}")
    if folder.resolve().parent != own.resolve() and not trust_config:
        raise ConfigError(f"{folder}: a bundle's config is code; run it with --trust-config if you trust its author")
    return folder.resolve()


def load_workflow(
    bundle: str | Path, config: str, overrides: Mapping[str, Any] | None = None, trust_config: bool = False
) -> ConfigWorkflow:
    """The workflow that `python -m monai.bundle run` would make of `<bundle>/<config>.json`, not yet initialised.

    Args:
        bundle: name or folder.
        config: `train`, `evaluate` or `inference`.
        overrides: config ids and values, as MONAI takes them on its command line (`network_def#features`).
        trust_config: allow a folder that isn't radseg's own.

    Raises:
        ConfigError: unknown bundle, unreadable config, or an override that names nothing in it.
    """
    folder = find_bundle(bundle, trust_config)
    configs = radseg.bundles.configs(folder)
    file = configs / f"{config}.json"
    if not file.is_file():
        raise ConfigError(f"{folder}: has no {config}.json")
    content = read_json(file)
    changes = {"bundle_root": str(folder), **_absolute_paths(overrides or {})}
    retargeted = _retargeted(content, changes)
    for key, value in changes.items():
        refuse_secret(key, value)
        check_override(retargeted, key, file)
        if not trust_config:
            _refuse_code(key, value)
        if "#" not in key:
            _check_kind(key, value, content.get(key))
    if "overrides" in content:
        told = {key: value for key, value in (overrides or {}).items() if top_key(key) not in RUN_KEYS}
        changes["overrides"] = dict(chain.from_iterable(_spelt_out(key, value) for key, value in told.items()))
    _set_storage(content, changes)
    output_dir = changes.get("output_dir", content.get("output_dir"))
    if isinstance(output_dir, str) and "://" in output_dir:
        changes["output_dir"] = str(staged(output_dir))
    kind, run_id = CONFIGS[config]
    with only_errors_from_monai():  # it warns that logging is left to us
        return ConfigWorkflow(
            config_file=str(file),
            meta_file=str(configs / "metadata.json"),
            logging_file=False,
            run_id=run_id,
            workflow_type=kind,
            **changes,
        )


def _absolute_paths(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides whose paths start with a slash, so that no file name reads as an expression of MONAI's ($, @, %)."""
    return {
        key: absolute(value) if key in _PATH_KEYS and isinstance(value, str | Path) else value
        for key, value in overrides.items()
    }


def _retargeted(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the components that `changes` puts in place of others: their arguments may then be overridden."""
    result = copy.deepcopy(dict(content))
    for key, value in changes.items():
        *parents, last = key.replace("::", "#").split("#")
        node: Any = result
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if last == "_target_" and isinstance(node, dict) and isinstance(value, str):
            node[last] = value
    return result


def _spelt_out(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """An override as ids and plain values: MONAI would make the components that are told of, too."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _spelt_out(f"{key}#{name}", inner)
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        for number, inner in enumerate(value):
            yield from _spelt_out(f"{key}#{number}", inner)
    else:
        yield key, value


def _set_storage(content: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Makes the config's key `storage`, with what overrides it, the settings of all stores; without one they stay."""
    if "storage" in content:
        inner = {key.replace("::", "#").partition("#")[2]: key for key in changes if top_key(key) == "storage"}
        whole = changes.get("storage", content["storage"]) or {}
        use_storage({**whole, **{name: changes[key] for name, key in inner.items() if name}})


def top_key(key: str) -> str:
    """The top-level key that a config id such as `storage#cache_dir` is below."""
    return key.replace("::", "#").partition("#")[0]


def _check_kind(key: str, value: Any, default: Any) -> None:
    """Refuses a value of another kind than the config's own, where that is a plain number, switch or list."""
    if default is None or isinstance(default, str | Mapping):
        return
    switch, number = isinstance(default, bool), isinstance(default, int | float)
    if switch:
        fits = isinstance(value, bool)
    elif number:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        fits = fits and (isinstance(default, float) or value == int(value))
    else:
        fits = isinstance(value, list | tuple) and len(value) == len(default)
    if not fits:
        wants = "true or false" if switch else "a number" if number else f"a list of {len(default)}"
        raise ConfigError(f"--{key} takes {wants}, such as {json.dumps(default)}; got {value!r}")


def _refuse_code(key: str, value: Any) -> None:
    """Refuses a value that MONAI would evaluate or look up, at any depth."""
    if isinstance(value, Mapping):
        for inner in value.values():
            _refuse_code(key, inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_code(key, inner)
    elif isinstance(value, str) and value.startswith(("$", "@", "%")):
        raise ConfigError(f"--{key}: {value!r} is an expression, which is code; pass --trust-config if you wrote it")


def run_workflow(workflow: ConfigWorkflow) -> Any:
    """Initialises and runs a workflow and gives the result of its last expression.

    Raises:
        RadsegError: whatever went wrong below, taken out of the wrappings that MONAI's config parser adds.
    """
    with urls_in_errors():
        try:
            workflow.initialize()
            results = workflow.run()
            workflow.finalize()
        except Exception as error:
            cause = radseg_cause(error)
            if cause is None and _is_about_the_config(error):
                raise ConfigError(
                    _unknown_target(error) or f"{_with_nearest(one_line(error))}; check the overrides and the config"
                ) from error
            if cause is None or cause is error:
                raise
            raise cause from error
    return results[-1]


def _is_about_the_config(error: BaseException) -> bool:
    """Whether a component of the config refused its arguments; MONAI says so in the wrapping."""
    link: BaseException | None = error
    while link is not None:
        if "Failed to instantiate component" in str(link) or _NO_TARGET.search(str(link)):
            return True
        link = link.__cause__
    return False


def _unknown_target(error: BaseException) -> str | None:
    """What to say of a `_target_` that there isn't, with the nearest of its package; None of any other error."""
    found = _NO_TARGET.search(one_line(error))
    if found is None:
        return None
    package, _, name = found[1].rpartition(".")
    try:
        near = difflib.get_close_matches(name, getattr(import_module(package or "radseg.networks"), "__all__", ()), n=1)
    except ImportError:
        near = []
    hint = f"did you mean {package or 'radseg.networks'}.{near[0]}?" if near else "give its full path"
    return f"_target_ {found[1]!r} is not known; {hint}"


def _with_nearest(refusal: str) -> str:
    """A component's refusal of a name, with the nearest of those that it lists; any other as it is."""
    found = _CHOICE.search(refusal)
    near = difflib.get_close_matches(found[2].lower(), found[1].split(", "), n=1, cutoff=0.5) if found else []
    return f"{refusal.rstrip('.')}: did you mean {near[0]!r}?" if near else refusal


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file; a key given twice or a syntax error is refused with its place."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            raise ConfigError(f"{file}: key {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
        return content

    try:
        content = json.loads(file.read_text(), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file}: line {error.lineno}: {error.msg}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must hold a JSON object")
    return content


def check_override(content: Mapping[str, Any], key: str, file: Path) -> None:
    """Refuses an override id that names nothing in the config; MONAI would add it silently.

    An id may be new only where it names an argument that its component takes.

    Raises:
        ConfigError: with the nearest id that exists.
    """
    parts = key.replace("::", "#").split("#")
    node: Any = content
    for depth, part in enumerate(parts):
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif depth == len(parts) - 1 and isinstance(node, Mapping) and part in arguments_of(node):
            return
        else:
            known = [*_ids(content), *("#".join([*parts[:-1], name]) for name in arguments_of(node))]
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean --{nearest[0]}?" if nearest else f"its keys are {', '.join(content)}"
            raise ConfigError(f"{file.parent.name}/{file.name} has no key {key!r}: {hint}")


def known_to(content: Mapping[str, Any], overrides: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The overrides that name something in this config."""

    def known(key: str) -> bool:
        try:
            check_override(content, key, file)
        except ConfigError:
            return False
        return True

    return {key: value for key, value in overrides.items() if known(key)}


def arguments_of(node: Any) -> list[str]:
    """Names of the arguments that a config component (`_target_`) takes; none for anything else."""
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(target, str) or target.startswith("$"):
        return []
    component = locate_target(target)
    if component is None:
        return list(_SPECIAL_KEYS)
    return [*inspect.signature(component).parameters, *_SPECIAL_KEYS]


def locate_target(target: str) -> Any:
    """The class or function that a `_target_` names, as MONAI finds it; None when there is none."""
    if "." not in target:
        module = _locator().get_component_module_name(target)
        if module is None:
            return None
        target = f"{module[0] if isinstance(module, list) else module}.{target}"
    module_name, _, name = target.rpartition(".")
    component, found = optional_import(module_name, name=name)
    return component if found else None


@contextmanager
def only_errors_from_monai() -> Iterator[None]:
    """Keeps MONAI's loggers, each of which has a level and a handler of its own, from saying less than errors."""
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith("monai")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_LOCATORS: list[ComponentLocator] = []


def _locator() -> ComponentLocator:
    # made once: it imports every module of MONAI
    if not _LOCATORS:
        _LOCATORS.append(ComponentLocator())
    return _LOCATORS[0]


def _ids(node: Any, prefix: str = "") -> Iterator[str]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield f"{prefix}{key}"
        yield from _ids(value, f"{prefix}{key}#")
