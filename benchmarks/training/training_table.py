"""The training tables of benchmarks/README.md, made from the result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from readme_tables import README, markdown, put_between

START, END = "<!-- training: made by `python benchmarks/training` -->", "<!-- training: end -->"
SIDES = {"zoo": "model zoo's way", "radseg": "radseg, amp"}
UNIT = {"spine": "windows", "lung_ct": "slices"}
COLUMNS = ("× zoo", "step s", "waiting s", "waiting", "floor s", "× floor", "GB", "workers GB", "loss, first → last")


def tables(result: Mapping[str, Any]) -> str:
    """Markdown: what it was measured on, a table for each bundle, and how soon a training starts."""
    machine = result["machine"]
    computer = ", ".join(
        [machine["cpu"], f"{machine['memory_gb']} GB", *([machine["gpu"]] if "gpu" in machine else [])]
    )
    when = ", ".join(f"{bundle} {job['date']}, commit {job['commit']}" for bundle, job in result["jobs"].items())
    head = f"{result['what']}; {computer}; {when}."
    parts = [head]
    for bundle, job in result["jobs"].items():
        rows = [[SIDES[side], *_cells(found)] for side, found in job["sides"].items()]
        parts.append(markdown([f"{bundle} ({job['images']})", f"{UNIT[bundle]}/s", *COLUMNS], rows))
    starts = [
        [bundle, *(f"{seconds:.2f}" for seconds in job["start"].values())] for bundle, job in result["jobs"].items()
    ]
    heads = [f"{name}, s" for name in next(iter(result["jobs"].values()))["start"]]
    parts.append(markdown(["training set ready", *heads], starts))
    return "\n\n".join(parts)


def _cells(found: Mapping[str, Any]) -> list[str]:
    middle = found["median"]
    return [
        f"{middle['samples_per_second']:.2f}",
        f"{found['times_zoo']:.2f}",
        f"{middle['step_seconds']:.2f}",
        f"{middle['waiting_seconds']:.2f}",
        f"{middle['waiting_share']:.0%}",
        f"{found['floor_seconds']:.2f}",
        f"{found['times_floor']:.2f}",
        f"{middle['peak_mb'] / 1000:.2f}",
        f"{middle['workers_mb'] / 1000:.2f}",
        f"{middle['loss_first']:.3f} → {middle['loss_last']:.3f}",
    ]


def write_tables(result: Mapping[str, Any], readme: Path = README) -> None:
    """Puts the tables between their markers.

    Raises:
        ValueError: the markers aren't there.
    """
    put_between(START, END, tables(result), readme)
