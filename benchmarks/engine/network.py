"""The networks of the bundles as their configs define them, with weights, in evaluation mode, on the CPU."""

from __future__ import annotations

from pathlib import Path

import torch

from radseg.networks import AttentionUNet, SpineFusionNet


def network_of(bundle: str, weights: Path | str) -> torch.nn.Module:
    """spine: (b, 1, x, y, z) to 3 logits; lung_ct: (b, 1, rows, columns) to 1 logit."""
    network: torch.nn.Module
    if bundle == "spine":
        network = SpineFusionNet(spatial_dims=3, in_channels=1, out_channels=3, features=[16, 32, 64, 128, 256])
    else:
        network = AttentionUNet(in_channels=1, out_channels=1)
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    )
    return network.eval()
