"""Puts trained weights into a bundle: `python -m radseg.pipelines.experiments.ship_weights BUNDLE MODEL [RESULTS]`."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from radseg.pipelines.bundle_loader import find_bundle, load_workflow
from radseg.pipelines.errors import ConfigError, RadsegError, WeightsError
from radseg.pipelines.experiments.results import read_results
from radseg.pipelines.experiments.scores import POOLED, over_folds
from radseg.pipelines.report.atomic import write_whole
from radseg.pipelines.weights import load_weights, sha256_of, write_atomically

_SHA256 = re.compile(r'("weights_sha256": )(null|"\w*")')
_METRICS = re.compile(r'("eval_metrics": )\{[^}]*\}')
LARGEST = 30_000_000
"""Bytes that the weights of a bundle may have, so that a checkout and a wheel stay small."""


def ship_weights(
    bundle: str | Path, weights: Path | str, metrics: dict[str, float] | None = None, trust_config: bool = False
) -> Path:
    """Writes `models/model.pt` of a bundle in float16, and its sha256 and metrics to metadata.json.

    Counts of batch norm's batches are whole numbers and stay so.

    Args:
        bundle: name, or folder; the checkout's, since it is written to.
        weights: a state dict of the bundle's network, as a training leaves it.
        metrics: for `eval_metrics`, by name, of cases that weren't trained on.
        trust_config: allow a bundle folder that isn't radseg's own.

    Returns:
        The file.

    Raises:
        ConfigError: no such bundle, or its metadata.json has no place for them.
        WeightsError: weights of another network, a value that float16 can't hold, or too large a file.
    """
    root = find_bundle(bundle, trust_config)
    parser = load_workflow(root, "train", {}, trust_config).parser
    network: torch.nn.Module = load_weights(parser.get_parsed_content("network_def"), weights, root)
    state = {name: _halved(name, value, weights) for name, value in network.state_dict().items()}
    file = root / "models" / "model.pt"
    size = sum(value.numel() * value.element_size() for value in state.values())
    if size > LARGEST:
        raise WeightsError(f"{weights}: {size / 1e6:.1f} MB in float16, at most {LARGEST / 1e6:.0f} MB ship")
    arrived = file.with_name(file.name + ".new")
    try:
        write_atomically(state, arrived)
        about = _told(root / "metadata.json", sha256_of(arrived), metrics or {})
        arrived.replace(file)
    finally:
        arrived.unlink(missing_ok=True)
    write_whole(root / "metadata.json", [about])
    return file


def _told(metadata: Path, sha256: str, metrics: dict[str, float]) -> str:
    """A metadata.json with the weights' sha256 and metrics filled in."""
    rounded = {name: round(value, 4) for name, value in metrics.items()}
    about = metadata.read_text(encoding="utf-8")
    about = _SHA256.sub(lambda match: f'{match[1]}"{sha256}"', about)
    about = _METRICS.sub(lambda match: match[1] + json.dumps(rounded, ensure_ascii=False), about)
    told = json.loads(about)
    if (told.get("weights_sha256"), told.get("eval_metrics")) != (sha256, rounded):
        raise ConfigError(f"{metadata}: has no weights_sha256 or eval_metrics to fill; add them as null and {{}}")
    return about


def scores_of(results: Path) -> dict[str, float]:
    """For `eval_metrics`: Dice and pooled Dice of each label, means over the folds of an experiment's folder.

    Raises:
        InputError: it holds no results that can be read.
    """
    found = read_results(results)
    baseline = next(variant for variant in found.variants if variant.name == found.baseline)
    prefix = "simulated " if found.dataset.simulated else ""
    scores = {}
    for label in found.labels:
        for metric in ("dice", POOLED):
            mean = over_folds(baseline, label, metric).mean
            if mean is not None:
                scores[f"{prefix}{label} {metric}, cross-validated"] = mean
    return scores


def _halved(name: str, value: torch.Tensor, weights: Path | str) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    if not torch.isfinite(half).all():
        raise WeightsError(f"{weights}: tensor {name!r} has values beyond float16's 65,504")
    return half


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m radseg.pipelines.experiments.ship_weights", description=__doc__)
    parser.add_argument("bundle", help="name or folder")
    parser.add_argument("model", type=Path, help="model.pt of a training")
    parser.add_argument("results", type=Path, nargs="?", help="folder of a cross-validation with the same recipe")
    parser.add_argument("--trust-config", action="store_true", help="allow a bundle folder that isn't radseg's own")
    asked = parser.parse_args(arguments)
    try:
        metrics = None if asked.results is None else scores_of(asked.results)
        file = ship_weights(asked.bundle, asked.model, metrics, asked.trust_config)
    except RadsegError as error:
        parser.error(str(error))
    sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
