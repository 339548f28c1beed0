"""What no engine on this machine can beat: a network's arithmetic at the peak of a large matrix product.

Beside it the bytes that its convolutions have to read and write once (everything between them merged into them) at the
speed of a large copy. The floor of a window is the longer of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from device_clock import seconds_on
from measure import run_worker
from network import network_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SIDES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192, 16384)}  # of the matrices
COPIED_BYTES = 1 << 29
REPEATS = 3
TYPES = {"exact": torch.float32, "fast": torch.bfloat16}


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Peak and copy speed of this machine, and for each of `networks` its cost and floor per window.

    `networks` maps a bundle to its `weights` and the `window`, whose shape is (x, y, z) or (rows, columns).
    """
    torch.set_num_threads(order["threads"])
    with torch.inference_mode():
        peak = {name: peak_flop_per_second(dtype) for name, dtype in TYPES.items()}
        copied = copy_bytes_per_second()
        networks = {}
        for bundle, given in order["networks"].items():
            flop, values = cost_of_window(network_of(bundle, given["weights"]), given["window"])
            floors = {name: max(flop / peak[name], values * TYPES[name].itemsize / copied) for name in TYPES}
            networks[bundle] = {
                "gflop_per_window": round(flop / 1e9, 2),
                "million_values_moved_per_window": round(values / 1e6, 2),
                "floor_seconds_per_window": {name: float(f"{floor:.4g}") for name, floor in floors.items()},
            }
    return {
        "peak_gflop_per_second": {name: round(value / 1e9, 1) for name, value in peak.items()},
        "copy_gb_per_second": round(copied / 1e9, 2),
        "networks": networks,
    }


def peak_flop_per_second(dtype: torch.dtype, device: str = "cpu") -> float:
    """The fastest product of two square matrices of that type on a device."""
    sides = SIDES[torch.device(device).type]
    return max(2 * side**3 / _fastest(_product(side, dtype, device), device) for side in sides)


def copy_bytes_per_second() -> float:
    """Bytes read plus bytes written in a second, by copying more than any cache holds."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / _fastest(lambda: target.copy_(source))


def cost_of_window(network: nn.Module, window: list[int]) -> tuple[int, int]:
    """Floating-point operations of one window, and the values its convolutions read and write (weights included)."""
    values = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal values
        values += inputs[0].numel() + output.numel() + sum(one.numel() for one in layer.parameters())

    convolutions = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    hooks = [one.register_forward_hook(count) for one in network.modules() if isinstance(one, convolutions)]
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, *window))
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops(), values


def _product(side: int, dtype: torch.dtype, device: str) -> Callable[[], object]:
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    result = torch.empty(side, side, dtype=dtype, device=device)
    return lambda: torch.mm(left, right, out=result)


def _fastest(act: Callable[[], object], device: str = "cpu") -> float:
    act()
    seconds = []
    for _ in range(REPEATS):
        start = seconds_on(device)
        act()
        seconds.append(seconds_on(device) - start)
    return min(seconds)


if __name__ == "__main__":
    run_worker(work)
