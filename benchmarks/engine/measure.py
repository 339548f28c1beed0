"""One side of a comparison as a process of its own: its seconds, its peak memory, and what it says of itself.

A worker is a script that is called with one file, a JSON object with what it needs and the name of its answer:

    python stock.py ORDER.json

It answers with `run_worker(work)` at the end of its script.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MB = 1e6
KIB = 1024
HERE = Path(__file__).parent
LOOK_EVERY_SECONDS = 0.05


def run(
    worker: str,
    order: Mapping[str, Any],
    *,
    threads: int,
    most_gb: float,
    python: Path | str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Runs a worker of this folder and returns its answer, with the seconds and the peak memory of the whole process.

    Args:
        worker: name of its file.
        order: what it is told.
        threads: of every library that computes.
        most_gb: resident memory at which it is ended; the answer then holds nothing but `did_not_fit`.
        python: interpreter that runs it.
        environment: variables on top of this process' own.

    Raises:
        RuntimeError: it failed for another reason; the message ends with its last words.
    """
    several = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        asked, answer, said = (Path(folder) / name for name in ("order.json", "answer.json", "output"))
        asked.write_text(json.dumps({**order, "threads": threads, "answer": str(answer)}))
        with said.open("wb") as output:
            start = time.perf_counter()
            process = subprocess.Popen(
                [str(python), str(HERE / worker), str(asked)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **several, **(environment or {})},
            )
            fits = _watch(process, most_gb)
            seconds = time.perf_counter() - start
        if not fits:
            return {"did_not_fit": f"ended at {most_gb:.1f} GB after {seconds:.0f} s"}
        if process.returncode != 0 or not answer.is_file():
            last = said.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{worker} ended with {process.returncode}: {last}")
        return {**json.loads(answer.read_text()), "process_seconds": round(seconds, 2)}


def run_worker(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """What a worker's script ends with: carries out the order and leaves the answer, with the process' peak memory."""
    order = json.loads(Path(sys.argv[1]).read_text())
    answer = work(order)
    Path(order["answer"]).write_text(json.dumps({**answer, "peak_mb": round(_status_mb("self", "VmHWM"))}))


class Stages:
    """A stopwatch whose parts have names; they follow one another without gaps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def end(self, name: str) -> None:
        """Ends the part that has been running, under its name."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now

    @property
    def total(self) -> float:
        """Seconds from the start to the end of the last part."""
        return round(self._last - self._start, 3)


def _watch(process: subprocess.Popen[bytes], most_gb: float) -> bool:
    """Waits for the end of a process; False where it grew too large or the system killed it for its memory."""
    while process.poll() is None:
        if _status_mb(str(process.pid), "VmRSS") > most_gb * 1000:
            process.kill()
            process.wait()
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    return process.returncode != -9


def _status_mb(process: str, field: str) -> float:
    # ru_maxrss of a child may be that of the parent it was forked from; the kernel's status is the process' own
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) * KIB / MB for line in lines if line.startswith(field)), 0.0)
