"""Windows or slices per second of training: a bundle's train.json against the model zoo's way, on a CPU or a GPU.

    python benchmarks/training --data ../shared/data

Every run is a process of its own; the sides take turns; medians count. The network, its first weights, loss,
optimiser, augmentation, batch and window are the same; what differs is told in README.md. Waiting is the time in which
a step has no batch yet. Preparing the images is told apart, and how soon a second training starts with `cache_dir`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from images import DATA, make_dataset
from measure import run
from provenance import memory_gb, provenance
from training_table import SIDES, tables, write_tables

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
RESULT = RESULTS / "training_cpu.json"
CACHE = HERE.parents[1] / "runs" / "bench" / "training"
# the zoo's `amp` reaches CUDA only
PRECISION = {"cpu": {"zoo": "exact", "radseg": "fast"}, "cuda": {"zoo": "fast", "radseg": "fast"}}
SPARED_GB = 2.0  # of the machine's memory


def main() -> None:
    """Runs all of it and writes the result after each bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of chest_ct and covid_ct")
    parser.add_argument("--jobs", nargs="+", choices=("spine", "lung_ct"), default=["spine", "lung_ct"])
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N, of both sides")
    parser.add_argument("--steps", type=int, default=10, help="that count, in each run")
    parser.add_argument("--warm-up", type=int, default=2, help="steps before them")
    parser.add_argument("--turns", type=int, default=3, help="runs of each side")
    parser.add_argument("--zoo-workers", type=int, default=4, help="of the zoo's loader; its configs have 4")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--overrides", type=json.loads, default={}, help="of both sides' train.json, as JSON")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the datasets are kept")
    parser.add_argument("--output", type=Path, help="results/training_cpu.json or training_cuda.json if not given")
    chosen = parser.parse_args()
    kind = chosen.device.partition(":")[0]
    output: Path = chosen.output or RESULTS / f"training_{kind}.json"
    result: dict[str, Any] = provenance(
        HERE.parents[1] / "sample_data/spine/imagesTr/spine01.nii.gz", {}, chosen.threads
    )
    turns = f"{chosen.turns} turns of {chosen.steps} steps"
    result["what"] = f"training steps on {chosen.threads} threads, {chosen.device.upper()}; {turns}"
    result |= {"zoo_workers": chosen.zoo_workers, "overrides": chosen.overrides, "jobs": {}}
    result["jobs"] = _measured_before(output, result)
    limits = {"threads": chosen.threads, "most_gb": memory_gb() - SPARED_GB}
    for bundle in chosen.jobs:
        dataset, images = make_dataset(bundle, chosen.data, chosen.cache)
        order = {
            "bundle": bundle,
            "dataset": str(dataset),
            "device": chosen.device,
            "overrides": chosen.overrides,
        }
        counts = {"warm_up": chosen.warm_up, "steps": chosen.steps, "workers": chosen.zoo_workers}
        floor = run(str(HERE / "arithmetic.py"), order, **limits)
        if gpu := floor.pop("gpu"):
            result["machine"]["gpu"] = gpu
        runs = _take_turns({**order, **counts}, chosen.turns, limits)
        result["jobs"][bundle] = {
            **{key: result[key] for key in ("date", "commit")},
            "images": images,
            "floor": floor,
            "sides": summary(runs, floor["floor_seconds"], kind),
            "start": _starts(order, limits),
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{tables(result)}\n")
    if output == RESULT:
        write_tables(result)


def _measured_before(output: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """The jobs in the result that is there, if they were measured alike."""
    if not output.is_file():
        return {}
    before: dict[str, Any] = json.loads(output.read_text())
    alike = all(before.get(key) == result[key] for key in result if key not in ("date", "commit", "machine", "jobs"))
    return before["jobs"] if alike and before["machine"]["cpu"] == result["machine"]["cpu"] else {}


def _take_turns(order: Mapping[str, Any], turns: int, limits: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for turn in range(turns):
        for side in SIDES:
            with tempfile.TemporaryDirectory() as folder:
                # an epoch long enough for all steps, as in the zoo's loader
                more = {"overrides": {**order["overrides"], **_long_epoch(order)}} if side == "radseg" else {}
                answer = run(str(HERE / f"{side}_side.py"), {**order, **more, "output": f"{folder}/run"}, **limits)
            if "did_not_fit" in answer:
                raise SystemExit(f"{order['bundle']}, {side}: {answer['did_not_fit']}")
            runs[side].append(answer)
            told = f"{answer['samples_per_second']} a second, {answer['waiting_share']:.0%} waiting"
            sys.stderr.write(f"{order['bundle']}, {side}, run {turn + 1}: {told}\n")
    return runs


def _long_epoch(order: Mapping[str, Any]) -> dict[str, Any]:
    if order["bundle"] == "spine":
        return {"repeats": order["warm_up"] + order["steps"] + 1}
    return {"max_epochs": 1000, "val_interval": 1000}


def summary(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], floor_seconds: Mapping[str, float], kind: str = "cpu"
) -> dict[str, Any]:
    """Every run's numbers, their medians, and how the sides compare.

    Args:
        runs: answers of each side's runs.
        floor_seconds: of a step, by precision.
        kind: of the device, cpu or cuda.
    """
    found: dict[str, Any] = {}
    for side, answers in runs.items():
        found[side] = {
            "runs": [dict(answer) for answer in answers],
            "median": {key: median(answer[key] for answer in answers) for key in answers[0]},
            "floor_seconds": floor_seconds[PRECISION[kind][side]],
        }
        found[side]["times_floor"] = round(found[side]["median"]["step_seconds"] / found[side]["floor_seconds"], 2)
    for one in found.values():
        rate, zoo = one["median"]["samples_per_second"], found["zoo"]["median"]["samples_per_second"]
        one["times_zoo"] = round(rate / zoo, 2)
    return found


def _starts(order: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds until the training set is ready: without a cache, with an empty one, with a full one."""
    with tempfile.TemporaryDirectory() as folder:
        kept = f"{folder}/cache"
        places = {"no cache": None, "first start": kept, "second start": kept}
        return {
            name: run(str(HERE / "start.py"), {**order, "cache_dir": place}, **limits)["ready_seconds"]
            for name, place in places.items()
        }


if __name__ == "__main__":
    main()
