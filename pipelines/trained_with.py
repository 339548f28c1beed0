"""The settings that weights were trained with, told where they are run with others."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import RUN_KEYS, read_json
from radseg.pipelines.weights import weights_files

_logger = logging.getLogger("radseg.weights")

_ELSEWHERE = (
    *("seed", "overwrite", "progress", "tracker", "imports", "initialize", "run", "training"),
    *("modality", "labels", "min_slices", "overlap", "sw_batch_size", "roi_size"),
)
"""Keys that training and inference share and that may well differ between them."""


def settings_of(training: ConfigWorkflow, bundle_root: Path) -> dict[str, Any]:
    """What a training and those who use its weights must have in common, such as `image_size` or `spacing_mm`.

    These are the plain values at the top of train.json that inference.json has too.

    Args:
        training: the workflow, with its overrides.
        bundle_root: folder of its bundle.
    """
    return _shared(training.parser.config, read_json(configs(bundle_root) / "inference.json"))


def warn_of_other_settings(workflow: ConfigWorkflow, bundle_root: Path) -> None:
    """Logs a line where a workflow has other settings than its weights were trained with.

    Of weights that `radseg train` made, `history.json` beside them says which these were; of those that ship with a
    bundle its train.json and recipe.json. Of other weights nothing is known.

    Args:
        workflow: evaluation or inference, with its overrides.
        bundle_root: folder of its bundle.
    """
    config = workflow.parser.config
    if not {"weights", "bundle_root"} <= config.keys():
        return
    folds, given = config.get("folds"), workflow.parser.get_parsed_content("weights")
    for weights in weights_files(given, folds) if given is not None else ():
        trained = _trained(Path(weights), bundle_root)
        other = {key: value for key, value in trained.items() if key in config and not _alike(config[key], value)}
        if other:
            said = ", ".join(
                f"{key} {json.dumps(value)} (here {json.dumps(config[key])})" for key, value in other.items()
            )
            give = " ".join(f"--{key} {_written(value)}" for key, value in other.items())
            _logger.warning("%s: trained with %s; give %s", weights, said, give)
            return


def _trained(weights: Path, bundle_root: Path) -> dict[str, Any]:
    """The settings of a training, as far as they are known."""
    if weights.is_absolute() and weights.resolve().is_relative_to(bundle_root.resolve()):
        place = configs(bundle_root)
        recipe = place / "recipe.json"
        changes = read_json(recipe) if recipe.is_file() else {}
        return _shared({**read_json(place / "train.json"), **changes}, read_json(place / "inference.json"))
    try:
        history = json.loads((weights.parent / "history.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    settings = history.get("settings") if isinstance(history, dict) else None
    return settings if isinstance(settings, dict) else {}


def _shared(train: Mapping[str, Any], inference: Mapping[str, Any]) -> dict[str, Any]:
    left_out = (*RUN_KEYS, *_ELSEWHERE)
    return {key: value for key, value in train.items() if key in inference and key not in left_out and _plain(value)}


def _plain(value: Any) -> bool:
    """Whether a value says all by itself, and isn't a component or an expression of MONAI's."""
    if isinstance(value, list | tuple):
        return all(_plain(inner) for inner in value)
    return not isinstance(value, Mapping) and not (isinstance(value, str) and value.startswith(("$", "@", "%")))


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where lists aren't told from tuples; expressions are let pass."""
    return not _plain(one) or json.loads(json.dumps(one)) == json.loads(json.dumps(other))


def _written(value: Any) -> str:
    """A value as it is written on a command line."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f'"{text}"' if set(text) & set(" []{}") else text
