"""radseg's side: a bundle's train.json as it is, with `amp` on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from device_clock import seconds_on
from measure import run_worker
from steps import StepWatch, samples_of


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Trains for some steps and says how long they took.

    Args:
        order: bundle, dataset, device, output, warm_up, steps, threads, overrides of train.json.
    """
    import torch

    from radseg.pipelines.bundle_loader import load_workflow

    torch.set_num_threads(order["threads"])
    start = time.perf_counter()
    settings = {
        "dataset_dir": order["dataset"],
        "output_dir": order["output"],
        "device": order["device"],
        "progress": False,
        "amp": True,
        **order["overrides"],
    }
    workflow = load_workflow(order["bundle"], "train", settings)
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    samples = samples_of(workflow.parser)
    watch = StepWatch(order["warm_up"], order["steps"], order["device"])
    watch.attach(trainer)
    ready_seconds = seconds_on(order["device"]) - start
    trainer.run()
    return {**watch.figures(samples), "ready_seconds": round(ready_seconds, 2)}


if __name__ == "__main__":
    run_worker(work)
