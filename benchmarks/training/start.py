"""How long a training set takes to be ready: prepared anew, prepared and kept, found in the cache."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from measure import run_worker


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Makes the bundle's training set and says how long that took, without the imports.

    Args:
        order: bundle, dataset, threads, cache_dir or None.
    """
    import torch

    from radseg.pipelines.bundle_loader import load_workflow

    torch.set_num_threads(order["threads"])
    settings = {"dataset_dir": order["dataset"], "cache_dir": order["cache_dir"], "progress": False}
    parser = load_workflow(order["bundle"], "train", settings).parser
    parser.get_parsed_content("train#preprocessing")
    start = time.perf_counter()
    data = parser.get_parsed_content("train#dataset")
    return {"ready_seconds": round(time.perf_counter() - start, 3), "items": len(data.data)}


if __name__ == "__main__":
    run_worker(work)
