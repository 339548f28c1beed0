"""How soon the annotation server answers, and what it adds to `segment`'s own time.

    make label-env
    python benchmarks/label_server.py

The server is the real one with its guard (`radseg label start`), the images are the sample radiographs. `segment` runs
in this process, image after image, and the least of its times a case counts. One thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "benchmarks" / "engine")]

from annotation_server import annotation_server  # noqa: E402
from label_app import radiographs, truth  # noqa: E402
from label_process import LabelProcess  # noqa: E402
from provenance import machine  # noqa: E402

from radseg.pipelines.segment import segment  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "label_server.json"
IMAGES, LABELS = 4, 100


def main() -> None:
    """Starts a server, takes the times and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        studies = radiographs(folder / "studies", IMAGES)
        own = segments_seconds(studies, folder / "segmented")
        (first, *_) = sorted(studies.iterdir())
        for number in range(LABELS):
            shutil.copy(first, studies / f"copy{number:03d}.png")
        began = time.perf_counter()
        with annotation_server(folder, studies, "lung_xray") as server:
            ready = time.perf_counter() - began
            once = seconds(lambda: infer(server, first.stem))
            again = [seconds(lambda: infer(server, first.stem)) for _ in range(5)]
            for number in range(LABELS):
                submit(server, f"copy{number:03d}", truth(first.stem))
            listed = [seconds(lambda: server.ask("GET", "/datastore/", params={"output": "all"})) for _ in range(5)]
    result = {
        "what": "the annotation server with its guard: lung_xray, sample radiographs, one thread",
        **machine(1),
        "seconds": {
            "until it answers": round(ready, 2),
            "segment, a case": round(own, 2),
            "first infer": round(once, 2),
            "infer of the same image again, least": round(min(again), 2),
            f"{LABELS} labels listed, least": round(min(listed), 3),
        },
        "aims": {"until it answers": 10, "again above segment": 0.3, "labels listed": 0.2},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result["seconds"], indent=1) + "\n")


def segments_seconds(studies: Path, output: Path) -> float:
    """The least seconds that `segment` needs for a case, all stages."""
    segment("lung_xray", studies, output, device="cpu", progress=False)
    rows = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    return min(sum(row["seconds"].values()) for row in rows)


def infer(server: LabelProcess, image: str) -> None:
    """Asks for the mask of a listed image."""
    query = {"image": image, "output": "image"}
    server.ask("POST", "/infer/lung_xray", params=query, files={"params": (None, "{}")}).raise_for_status()


def submit(server: LabelProcess, image: str, label: Path) -> None:
    """Submits a final label."""
    files = {"label": (label.name, label.read_bytes())}
    server.ask("PUT", "/datastore/label", params={"image": image, "tag": "final"}, files=files).raise_for_status()


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
