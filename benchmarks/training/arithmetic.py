"""What no training step on this machine's CPU or GPU can beat: its arithmetic at the peak of a large matrix product."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "engine"))
import torch
from floor import TYPES, peak_flop_per_second
from measure import run_worker
from steps import samples_of
from torch.utils.flop_counter import FlopCounterMode

from radseg.pipelines.bundle_loader import load_workflow


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Operations of one step forward and backward, and the seconds they take at each type's peak.

    Args:
        order: bundle, dataset, device, threads, overrides of train.json.
    """
    torch.set_num_threads(order["threads"])
    device = order["device"]
    settings = {"dataset_dir": order["dataset"], "device": device, **order["overrides"], "amp": False}
    parser = load_workflow(order["bundle"], "train", settings).parser
    torch.backends.cuda.matmul.allow_tf32 = True  # as convolutions in float32 are by default
    with torch.inference_mode():
        peak = {name: peak_flop_per_second(dtype, device) for name, dtype in TYPES.items()}
    network = parser.get_parsed_content("network")
    spine = order["bundle"] == "spine"
    size = parser.get_parsed_content("roi_size") if spine else [parser.get("image_size")] * 2
    # operations grow with the batch; two windows are enough for batch norm
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 1, *size, device=device)).sum().backward()
    flop = counter.get_total_flops() / 2 * samples_of(parser)
    return {
        "gpu": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else None,
        "gflop_per_step": round(flop / 1e9, 1),
        "peak_gflop_per_second": {name: round(value / 1e9, 1) for name, value in peak.items()},
        "floor_seconds": {name: round(flop / value, 4) for name, value in peak.items()},
    }


if __name__ == "__main__":
    run_worker(work)
