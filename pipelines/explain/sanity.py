"""Whether a heat map depends on what the network learnt: its weights are randomised from the output down.

Adebayo et al. 2018, Sanity Checks for Saliency Maps, section 3.1 (cascading randomization).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import nn

from radseg.pipelines.explain.cam import RegionCAM

STILL_ALIKE = 0.5
"""Rank correlation (ours; the paper draws curves) from which a map of random weights is said to be alike."""


def cascade(
    cam: RegionCAM, x: torch.Tensor, region: torch.Tensor, label: int, labels: int, seed: int = 0, draws: int = 5
) -> list[dict[str, Any]]:
    """Randomises a network part by part from its output to its input, and compares each map with the first.

    A tensor of weights becomes normal numbers of its own mean and standard deviation, so that features keep about
    their size. The parts are the network's own, the one used last first. A single draw may well give a map that is
    alike, or its opposite, by chance; so the cascade is run some times.

    Args:
        cam: is left with random weights: give one of its own.
        x, region, label, labels: as for `RegionCAM.coarse`.
        seed: of the random numbers.
        draws: how often it is run.

    Returns:
        For each part: "randomised" (its name, all above it are random too), "draws", Spearman's rank correlation of
        each draw's map with the first map on the layer's grid, None where a map is the same everywhere and so has no
        ranks, and "rank_correlation", the mean of those that there are, None without any.
    """
    parts = parts_in_order(cam.network, lambda: cam.coarse(x, region, label, labels))
    original = cam.coarse(x, region, label, labels).numpy()
    generator = torch.Generator().manual_seed(seed)
    learnt = {name: value.clone() for name, value in cam.network.state_dict().items()}
    found: dict[str, list[float | None]] = {name: [] for name in reversed(parts)}
    for _ in range(draws):
        cam.network.load_state_dict(learnt)
        for name, correlations in found.items():
            randomise(cam.network.get_submodule(name), generator)
            now = cam.coarse(x, region, label, labels).numpy()
            correlations.append(rank_correlation(original, now))
    return [
        {"randomised": name, "rank_correlation": _mean([one for one in drawn if one is not None]), "draws": drawn}
        for name, drawn in found.items()
    ]


def parts_in_order(network: nn.Module, run: Callable[[], Any]) -> list[str]:
    """Names of a network's parts that have weights, in the order in which `run` uses them, those of lists too."""
    used: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: used.append(name))
        for name, module in _parts(network).items()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(used))


def _parts(network: nn.Module) -> dict[str, nn.Module]:
    """The network's children that have weights, each once; of a list of layers its own; of a frame's the only one's."""
    found: dict[str, nn.Module] = {}
    for name, child in network.named_children():
        inner = _parts(child) if isinstance(child, nn.ModuleList | nn.ModuleDict) else {"": child}
        for below, part in inner.items():
            if any(True for _ in part.parameters()) and all(part is not known for known in found.values()):
                found[f"{name}.{below}".rstrip(".")] = part
    if len(found) == 1:
        ((name, only),) = found.items()
        return {f"{name}.{below}": part for below, part in _parts(only).items()} or found
    return found


@torch.no_grad()
def randomise(module: nn.Module, generator: torch.Generator) -> None:
    """Every tensor of weights becomes normal numbers of its own mean and standard deviation."""
    for weight in module.parameters():
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        weight.copy_(weight.mean() + noise * weight.std(correction=0))


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def rank_correlation(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float | None:
    """Spearman's rank correlation of two maps, −1 to 1; None if either is the same everywhere."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    ranks = [stats.rankdata(values.ravel()) for values in (one, other)]
    return round(float(np.corrcoef(*ranks)[0, 1]), 4)
