"""Attention-gate maps: how much each position of a skip connection counts, by the gates of the lesion paper."""

import copy
from typing import Any

import torch
from torch import nn

from radseg.networks.attention_unet import AttentionGate
from radseg.pipelines.errors import ConfigError
from radseg.pipelines.explain.cam import enlarged


class AttentionMaps:
    """The weights ψ of every attention gate, enlarged to the window (paper B, Attention gate, figure 7).

    Args:
        network: one with `AttentionGate`s; it is copied.

    Attributes:
        names: of the maps, by the gates' levels, finest first.
        notes: always empty.

    Raises:
        ConfigError: the network has none.
    """

    bounded = True  # weights of 0 to 1

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval()
        self.notes: list[str] = []
        gates = {path: gate for path, gate in self.network.named_modules() if isinstance(gate, AttentionGate)}
        if not gates:
            kind = type(network).__name__
            raise ConfigError(f"{kind} has no attention gates (lung_ct's network has); use --method gradcam")
        self.names = tuple(f"heatmap_{_level(path)}" for path in gates)
        self._gates = list(gates)
        self._weights: dict[str, torch.Tensor] = {}
        for path, gate in gates.items():
            gate.psi.register_forward_hook(self._keep(path))

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, region: torch.Tensor, label: int, labels: int) -> list[torch.Tensor]:
        """A map (*window), 0 to 1, for each gate, of a window (1, channels, *window); the region plays no part."""
        device = next(self.network.parameters()).device
        self.network(x.to(device))
        return [enlarged(self._weights[path], tuple(x.shape[2:])) for path in self._gates]

    def _keep(self, path: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            self._weights[path] = torch.sigmoid(output).float().cpu()

        return keep


def _level(path: str) -> str:
    """`level1` of `decoder.level1.gate`."""
    return "_".join(part for part in path.split(".") if part not in ("decoder", "gate")) or path
