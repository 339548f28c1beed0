"""All sides on one image: turn by turn, then medians, agreement with the stock mask, and the network's floor."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agreement import agreement
from sides import Side

MEASURED = ("process_seconds", "job_seconds", "peak_mb")


def compare(
    sides: Sequence[Side],
    image: Path,
    repeats: int,
    slow_repeats: int,
    floor: Mapping[str, Any],
    limits: Mapping[str, Any],
) -> dict[str, Any]:
    """The result of each side by name; the first one is what the others are held against.

    Args:
        sides: stock first.
        image: what is segmented.
        repeats: counted runs of radseg's sides, each after one that converts its network.
        slow_repeats: counted runs of the others.
        floor: answer of floor.py.
        limits: threads and most_gb of every run.
    """
    cold, runs = {}, {side.name: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        masks = {side.name: Path(folder) / f"{number}.nii.gz" for number, side in enumerate(sides)}
        for side in sides:
            if side.ours:
                side.forget()
                cold[side.name] = _told(side, "cold", side.segment(image, masks[side.name], limits))
        for turn in range(max(repeats, slow_repeats)):
            for side in sides:
                if turn < (repeats if side.ours else slow_repeats):
                    answer = side.segment(image, masks[side.name], limits)
                    runs[side.name].append(_told(side, f"run {turn + 1}", answer))
        result = {side.name: summary(runs[side.name]) for side in sides}
        for name, found in result.items():
            if masks[name].is_file() and masks[sides[0].name].is_file():
                found["agreement_with_stock"] = agreement(masks[name], masks[sides[0].name])
    for name, first in cold.items():
        result[name]["first_run_converts"] = {key: first[key] for key in MEASURED if key in first}
    _hold_against(result, sides[0].name)
    _add_floor(result, str(sides[0].order["bundle"]), floor)
    return result


def summary(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every run's numbers, their medians, the median of each stage, and what the last run said of itself."""
    fitting = [answer for answer in answers if "did_not_fit" not in answer]
    if not fitting:
        return dict(answers[-1]) if answers else {}
    stages = {stage: [answer["stages"][stage] for answer in fitting] for stage in fitting[-1]["stages"]}
    said = {key: value for key, value in fitting[-1].items() if key not in (*MEASURED, "stages")}
    return {
        **{key: [answer[key] for answer in fitting] for key in MEASURED},
        "median": {key: statistics.median(answer[key] for answer in fitting) for key in MEASURED},
        "median_stage_seconds": {stage: round(statistics.median(seconds), 2) for stage, seconds in stages.items()},
        **said,
    }


def _hold_against(result: dict[str, Any], reference: str) -> None:
    stock = result[reference].get("median")
    for found in result.values():
        if stock and (own := found.get("median")):
            found["times_faster"] = {
                "job": round(stock["job_seconds"] / own["job_seconds"], 2),
                "process": round(stock["process_seconds"] / own["process_seconds"], 2),
            }
            found["share_of_memory"] = round(own["peak_mb"] / stock["peak_mb"], 3)


def _add_floor(result: dict[str, Any], bundle: str, floor: Mapping[str, Any]) -> None:
    """Windows times the floor of one, in the type a side computes in; stock runs all, nnU-Net windows of its own."""
    per_window = floor["networks"][bundle]["floor_seconds_per_window"]
    all_windows = next((one["engine"]["windows"] for one in result.values() if "engine" in one), None)
    for name, found in result.items():
        if name == "nnU-Net":
            continue
        engine = found.get("engine", {"windows_run": all_windows, "precision": "exact"})
        if engine["windows_run"] is not None:
            found["network_floor_seconds"] = round(engine["windows_run"] * per_window[engine["precision"]], 2)


def _told(side: Side, which: str, answer: dict[str, Any]) -> dict[str, Any]:
    numbers = ", ".join(f"{key} {answer[key]}" for key in (*MEASURED, "did_not_fit") if key in answer)
    sys.stderr.write(f"{side.order['bundle']}, {side.name}, {which}: {numbers}\n")
    return answer
