"""Cases per minute of a batch with one worker, with two, and on a Ray of this machine with two actors.

    python benchmarks/throughput

Every batch is a process of its own; the sides take turns; medians count. The cases are simulated (`cases.py`) and the
network, spine's own, has random weights: what is compared is the handling of cases, not what is found in them. A batch
that isn't counted runs first, since the first one with new weights converts them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from cases import TIMES, make_cases
from measure import run
from provenance import memory_gb, provenance
from readme_tables import README, markdown, put_between

HERE = Path(__file__).parent
RESULT = HERE.parent / "results" / "throughput_cpu.json"
CACHE = HERE.parents[1] / "runs" / "bench"
START, END = "<!-- throughput: made by `python benchmarks/throughput` -->", "<!-- throughput: end -->"
SIDES: dict[str, dict[str, Any]] = {
    "1 worker": {"workers": 1, "ray": None},
    "2 workers": {"workers": 2, "ray": None},
    "Ray, 2 actors": {"workers": 2, "ray": "local"},
}
COLUMNS = {
    "job s": "job_seconds",
    "first case s": "first_case_seconds",
    "cases/min": "cases_per_minute",
    "cases/min once started": "cases_per_minute_once_started",
    "network s a case": "network_seconds_per_case",
    "overhead s a case": "overhead_seconds_per_case",
    "largest process MB": "largest_process_mb",
}


def main() -> None:
    """Runs all of it, prints the result and writes it after each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20, help="in a batch, at least 3")
    parser.add_argument("--sizes", nargs="+", choices=TIMES, default=list(TIMES))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where made images and weights are kept")
    parser.add_argument("--output", type=Path, default=RESULT)
    chosen = parser.parse_args()
    weights = _random_weights(chosen.cache)
    inputs = {size: make_cases(chosen.cache / "throughput", chosen.cases, size) for size in chosen.sizes}
    image = next(iter(inputs[chosen.sizes[0]].iterdir()))
    result: dict[str, Any] = provenance(image, {"spine": str(weights)}, chosen.threads)
    result["what"] = (
        f"batches of {chosen.cases} simulated CTs, spine with random weights, {chosen.threads} threads, CPU"
    )
    result["repeats"], result["sizes"] = chosen.repeats, {}
    limits = {"threads": chosen.threads, "most_gb": 0.9 * memory_gb()}
    for size, folder in inputs.items():
        order = {"inputs": str(folder), "weights": str(weights)}
        result["sizes"][size] = _take_turns(order, {name: SIDES[name] for name in chosen.sides}, chosen.repeats, limits)
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{tables(result)}\n")
    if chosen.output == RESULT:
        write_tables(result)


def _take_turns(
    order: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]], repeats: int, limits: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """The median figures of each side; the first round doesn't count."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, side in sides.items():
            if turn == 0 and any(runs.values()):
                continue
            with tempfile.TemporaryDirectory() as folder:
                answer = run(str(HERE / "batch.py"), {**order, **side, "output": f"{folder}/out"}, **limits)
            if "did_not_fit" in answer:
                raise SystemExit(f"{name}: {answer['did_not_fit']}")
            runs[name].append(answer)
        if turn == 0:
            runs = {name: [] for name in sides}
    return {name: {key: median(one[key] for one in found) for key in COLUMNS.values()} for name, found in runs.items()}


def _random_weights(cache: Path) -> Path:
    """Weights of spine's network as it is made, always the same."""
    file = cache / "throughput" / "random.pt"
    if not file.is_file():
        import torch

        from radseg.networks import SpineFusionNet

        torch.manual_seed(0)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(SpineFusionNet(3, 1, 3, [16, 32, 64, 128, 256]).state_dict(), file)
    return file


def tables(result: Mapping[str, Any]) -> str:
    """Markdown: what it was measured on, and a table for each size."""
    machine = result["machine"]
    head = f"{result['what']}; {machine['cpu']}, {machine['memory_gb']} GB; {result['date']}, commit {result['commit']}"
    parts = [f"{head}."]
    for size, sides in result["sizes"].items():
        rows = [[name, *(str(found[key]) for key in COLUMNS.values())] for name, found in sides.items()]
        parts.append(markdown([size, *COLUMNS], rows))
    return "\n\n".join(parts)


def write_tables(result: Mapping[str, Any], readme: Path = README) -> None:
    """Puts the tables between their markers. Raises ValueError when the markers aren't there."""
    put_between(START, END, tables(result), readme)


if __name__ == "__main__":
    main()
