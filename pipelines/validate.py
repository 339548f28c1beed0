"""The verb `validate`: every mistake in a bundle's files becomes one line, without running anything."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow, verify_metadata, verify_net_in_out

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import (
    CONFIGS,
    RUN_KEYS,
    arguments_of,
    check_override,
    find_bundle,
    known_to,
    load_workflow,
    locate_target,
    only_errors_from_monai,
    read_json,
)
from radseg.pipelines.errors import RadsegError, one_line
from radseg.pipelines.weights import load_weights

SCHEMA = Path(__file__).parent / "metadata_schema.json"
TOP_LEVEL_KEYS = ("bundle_root", "dataset_dir", "datalist", "output_dir", "weights", "device", "seed")


def validate(
    bundle: str | Path, *, trust_config: bool = False, overrides: Mapping[str, Any] | None = None
) -> list[str]:
    """All problems found in a bundle, one line each; an empty list is a valid bundle.

    Checks metadata.json against the schema, that each config parses, has the keys every config of radseg has and
    the properties that MONAI requires, that every `_target_` and its arguments exist, that references lead
    somewhere, that the network takes and gives what the metadata says, and that shipped weights fit.

    Args:
        bundle: name or folder.
        trust_config: allow a bundle folder that isn't radseg's own.
        overrides: config keys and values to validate with; each must exist in one of the configs.

    Raises:
        ConfigError: there is no such bundle.
    """
    folder = find_bundle(bundle, trust_config)
    inner = configs(folder)
    problems: list[str] = []

    def check(what: str, action: Callable[[], Any]) -> Any:
        try:
            with warnings.catch_warnings(action="ignore"), only_errors_from_monai():
                return action()
        except Exception as error:
            text = one_line(error)
            problems.append(text if isinstance(error, RadsegError) else f"{what}: {text}")
            return None

    metadata = inner / "metadata.json"
    check("metadata.json", lambda: verify_metadata(meta_file=str(metadata), filepath=str(SCHEMA)))
    wanted = dict(overrides or {})
    contents: dict[str, Any] = {}
    for config in CONFIGS:
        content = check(f"{config}.json", partial(read_json, inner / f"{config}.json"))
        if content is None:
            continue
        contents[config] = content
        name = f"{config}.json"
        problems.extend(f"{name}: top-level key {key!r} is missing" for key in TOP_LEVEL_KEYS if key not in content)
        problems.extend(f"{name}: {text}" for text in _wrong_components(content))
        problems.extend(f"{name}: {text}" for text in _dangling_references(content))
        mine = known_to(content, wanted, inner / name)
        workflow = check(name, partial(load_workflow, folder, config, mine, trust_config))
        if workflow is not None:
            problems.extend(f"{name}: MONAI wants the property {prop!r}" for prop in wrong_properties(workflow))
    for key in wanted:
        if not any(known_to(content, {key: None}, inner / f"{name}.json") for name, content in contents.items()):
            check(key, partial(check_override, contents["train"], key, inner / "train.json"))
    if not problems:
        inference = known_to(contents["inference"], wanted, inner / "inference.json")
        check("network_data_format", partial(_verify_network, folder, inference))
        check("weights", partial(_verify_weights, folder, inference, trust_config))
    return problems


def wrong_properties(workflow: ConfigWorkflow) -> list[str]:
    """Config ids that MONAI requires of such a workflow and that are missing, or that aren't where it looks.

    `ConfigWorkflow.check_properties` asks the same but builds every component, which takes weights and data.
    """
    wrong = []
    workflow.parser.parse()  # resolves macros and writes ids one way; builds nothing
    for name, about in workflow.properties.items():
        there = about["id"] in workflow.parser if about["required"] else workflow._check_optional_id(name, about)
        if not there:
            wrong.append(about["id"])
    return wrong


def _verify_network(folder: Path, overrides: Mapping[str, Any]) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs(folder) / "metadata.json"),
        config_file=str(configs(folder) / "inference.json"),
        device="cpu",
        **{key: value for key, value in overrides.items() if key not in RUN_KEYS},
    )


def _verify_weights(folder: Path, overrides: Mapping[str, Any], trust_config: bool) -> None:
    shipped = folder / "models" / "model.pt"
    weights = overrides.get("weights", shipped if shipped.exists() else None)
    recorded = json.loads((configs(folder) / "metadata.json").read_text())["weights_sha256"]
    if weights is None and recorded is None:
        return  # a bundle that says it has none
    workflow = load_workflow(folder, "inference", overrides, trust_config)
    workflow.initialize()
    network: torch.nn.Module = workflow.parser.get_parsed_content("network_def")
    load_weights(network, weights or shipped, folder)


def _wrong_components(node: Any, place: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if isinstance(target, str) and not target.startswith("$"):
            if locate_target(target) is None:
                yield f"{place or 'top level'}: there is no {target!r}"
            else:
                known = arguments_of(node)
                if "kwargs" not in known:
                    strange = [key for key in node if key != "_target_" and key not in known]
                    yield from (f"{place}: {target} takes no argument {key!r}" for key in strange)
        for key, value in node.items():
            yield from _wrong_components(value, f"{place}#{key}" if place else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _wrong_components(value, f"{place}#{index}")


def _dangling_references(content: Mapping[str, Any]) -> Iterator[str]:
    from monai.bundle import ConfigParser, ReferenceResolver

    parser = ConfigParser(config=dict(content))

    def walk(node: Any, place: str) -> Iterator[str]:
        if isinstance(node, Mapping):
            for key, value in node.items():
                yield from walk(value, f"{place}#{key}" if place else str(key))
        elif isinstance(node, list):
            for index, value in enumerate(node):
                yield from walk(value, f"{place}#{index}")
        elif isinstance(node, str):
            for reference in ReferenceResolver.match_refs_pattern(node):
                if reference not in parser:
                    yield f"{place}: refers to @{reference}, which isn't there"

    yield from walk(content, "")
