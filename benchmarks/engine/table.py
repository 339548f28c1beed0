"""The tables of benchmarks/README.md, made from the result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from readme_tables import README, markdown, put_between

START, END = "<!-- engine: made by `python benchmarks/engine` -->", "<!-- engine: end -->"
COLUMNS = (
    "job s",
    "× stock",
    "process s",
    "× stock",
    "peak GB",
    "of stock",
    "windows",
    "Dice",
    "floor s",
    "seconds by stage",
)


def write_table(result: Mapping[str, Any], readme: Path = README) -> None:
    """Puts the tables between their markers.

    Raises:
        ValueError: the markers aren't there.
    """
    put_between(START, END, tables(result), readme)


def tables(result: Mapping[str, Any]) -> str:
    """Markdown: what it was measured on, a table for each job, one for growth."""
    machine = result["machine"]
    head = f"{result['what']}; {machine['cpu']}, {machine['memory_gb']} GB; {result['date']}, commit {result['commit']}"
    floor = result["floor"]
    peak = floor["peak_gflop_per_second"]
    measured = (
        f"Peak {peak['exact']} GFLOP/s in float32, {peak['fast']} in bfloat16; copy {floor['copy_gb_per_second']} GB/s."
    )
    parts = [f"{head}. {measured}"]
    parts += [_job(bundle, sides) for bundle, sides in result["jobs"].items()]
    parts += [_growth(bundle, grown) for bundle, grown in result["growth"].items()]
    return "\n\n".join(parts)


def _job(bundle: str, sides: Mapping[str, Any]) -> str:
    return markdown([bundle, *COLUMNS], [[name, *_cells(found)] for name, found in sides.items()])


def _cells(found: Mapping[str, Any]) -> list[str]:
    if "median" not in found:
        return [found.get("did_not_fit", "not run"), *[""] * (len(COLUMNS) - 1)]
    median, faster, engine = found["median"], found.get("times_faster", {}), found.get("engine", {})
    dice = found.get("agreement_with_stock", {}).get("dice", {})
    stages = found["median_stage_seconds"]
    return [
        f"{median['job_seconds']:.1f}",
        f"{faster.get('job', '')}",
        f"{median['process_seconds']:.1f}",
        f"{faster.get('process', '')}",
        f"{median['peak_mb'] / 1000:.2f}",
        f"{found.get('share_of_memory', '')}",
        f"{engine['windows_run']} of {engine['windows']}" if engine else "all",
        ", ".join(f"{value:.5f}" for value in dice.values()),
        f"{found.get('network_floor_seconds', '')}",
        ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items()),
    ]


def _growth(bundle: str, grown: Mapping[str, Any]) -> str:
    names = list(next(iter(grown["slices"].values())))
    rows = []
    for count, found in grown["slices"].items():
        cells = []
        for name in names:
            one = found.get(name, {"did_not_fit": "not tried"})
            cells += [f"{one['job_seconds']:.0f}", f"{one['peak_mb'] / 1000:.2f}"] if "peak_mb" in one else ["—", "—"]
        rows.append([count, *cells])
    heads = [f"{bundle}, slices", *[head for name in names for head in (f"{name}, s", "GB")]]
    note = f"Growth ({grown['image']}); — didn't fit into the memory of this machine:"
    return f"{note}\n\n{markdown(heads, rows)}"
