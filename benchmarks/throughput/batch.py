"""One batch in a process of its own; see `measure.run`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from measure import run_worker


def work(order: dict[str, Any]) -> dict[str, float]:
    """Segments the cases, and says how long that took.

    Args:
        order: inputs, output, weights, threads, workers, and Ray's address or None.
    """
    import torch

    torch.set_num_threads(order["threads"])
    options = {"weights": order["weights"], "workers": order["workers"], "progress": False, "device": "cpu"}
    options["spacing_mm"] = [1.5, 1.5, 1.5]  # cases are about handling; the bundle's own 1 mm is 3.4 times the work
    start = time.time()
    if order["ray"] is None:
        from radseg.pipelines.segment import segment

        batch = segment("spine", order["inputs"], order["output"], **options)
    else:
        from radseg.pipelines.scale import segment_on_ray

        batch = segment_on_ray("spine", order["inputs"], order["output"], address=order["ray"], **options)
    seconds = time.time() - start
    if not batch.ok:
        raise RuntimeError(f"cases failed: {batch.failed}")
    ends = [file.stat().st_mtime - start for file in Path(order["output"]).glob("*/statistics.json")]
    rows = [json.loads(line) for line in (Path(order["output"]) / "manifest.jsonl").read_text().splitlines()]
    return figures(seconds, ends, rows, order["workers"])


def figures(seconds: float, ends: Sequence[float], rows: Sequence[dict[str, Any]], workers: int) -> dict[str, float]:
    """What a batch comes to.

    Args:
        seconds: of the whole batch.
        ends: when each case was written, in seconds from the start; of more cases than workers.
        rows: the manifest's lines.
        workers: cases at a time.

    Returns:
        Rates and seconds. The rate once started and the overhead are of the cases after each worker's first. Overhead
        is a worker's time for a case less what the network took of it.
    """
    network = mean(row["seconds"]["network"] for row in rows)
    each = (max(ends) - sorted(ends)[workers - 1]) / (len(ends) - workers)
    return {
        "job_seconds": round(seconds, 2),
        "first_case_seconds": round(min(ends), 2),
        "cases_per_minute": round(60 * len(ends) / seconds, 1),
        "cases_per_minute_once_started": round(60 / each, 1),
        "network_seconds_per_case": round(network, 3),
        "overhead_seconds_per_case": round(workers * each - network, 3),
        "largest_process_mb": max(row["peak_memory_mb"] for row in rows),
    }


if __name__ == "__main__":
    run_worker(work)
