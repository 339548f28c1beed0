"""A CT to its mask by radseg: the verb `segment` in a process of its own, its case folder and manifest included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from measure import Stages, run_worker

from radseg.pipelines.segment import segment


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Segments `image` with `bundle` and `weights` into the folder `output`; `overrides` are config keys and values."""
    torch.set_num_threads(order["threads"])
    output = Path(order["output"])
    stages = Stages()
    batch = segment(
        order["bundle"],
        order["image"],
        output,
        weights=order["weights"],
        device="cpu",
        progress=False,
        **order["overrides"],
    )
    stages.end("segment")
    if not batch.ok:
        raise RuntimeError(f"not segmented: {batch.failed or batch.refused}")
    row = json.loads((output / "manifest.jsonl").read_text().splitlines()[-1])
    # what lies between the stages: reading the config, making and converting the network, imports at first use
    seconds = {"set up": round(stages.total - sum(row["seconds"].values()), 3), **row["seconds"]}
    answer = {"job_seconds": stages.total, "stages": seconds, "engine": row["engine"], "warnings": row["warnings"]}
    return {**answer, "mask": str(output / batch.done[0] / "mask.nii.gz")}


if __name__ == "__main__":
    run_worker(work)
