"""A bundle's configs as they stand in its pack: below `configs`, with a root that may be moved."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import read_json

METADATA = "metadata.json"
_ROOT = "$packed_root()"
_IMPORT = "$from radseg.bundles import packed_root"
_IMPORT_OF_NAMED_ROOT = "$from radseg.bundles import root"
_SEED = "$set_determinism"


def packed_configs(root: Path) -> dict[str, dict[str, Any]]:
    """The contents of all configs of a bundle, metadata.json among them, by file name, as they stand in its pack.

    They find their root themselves, and a training is made ready by what runs it: MONAI initialises a workflow
    wherever it wants no more than the network, and that must neither look for data nor write.

    Raises:
        ConfigError: one isn't a JSON object.
    """
    contents = {file.name: read_json(file) for file in sorted(configs(root).glob("*.json"))}
    result = {name: _with_own_root(content) for name, content in contents.items()}
    train, multi = result.get("train.json", {}), result.get("multi_gpu_train.json", {})
    later = [step for step in _steps(train, "initialize") if not step.startswith(_SEED)]
    if later and isinstance(train.get("training"), list):
        train["training"] = [*later, *train["training"]]
        for content in (train, multi):
            if "initialize" in content:
                content["initialize"] = [step for step in _steps(content, "initialize") if step not in later]
    return result


def _with_own_root(content: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(content))
    if result.get("bundle_root", _ROOT) == _ROOT:  # it is a pack's already, or has none
        return result
    result["bundle_root"] = _ROOT
    imports = list(result.get("imports", ()))
    place = imports.index(_IMPORT_OF_NAMED_ROOT) if _IMPORT_OF_NAMED_ROOT in imports else len(imports)
    result["imports"] = [*imports[:place], _IMPORT, *imports[place + 1 :]]
    return result


def _steps(content: Mapping[str, Any], key: str) -> list[str]:
    steps = content.get(key, [])
    return [step for step in steps if isinstance(step, str)] if isinstance(steps, list) else []
