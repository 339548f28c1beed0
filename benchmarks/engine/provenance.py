"""What a result was measured with: date, commit, machine, versions, image and weights."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import nibabel as nib

ROOT = Path(__file__).parents[2]
LIBRARIES = ("torch", "monai", "openvino", "numpy", "nibabel", "scipy")


def provenance(image: Path, weights: Mapping[str, str], threads: int) -> dict[str, Any]:
    """The head of a result; weights are told by their sha256."""
    shape = "×".join(map(str, nib.load(image).shape))
    return {
        "what": f"a CT of {shape} to its mask on disk, same network and weights, {threads} threads, CPU",
        **machine(threads),
        "weights_sha256": {
            bundle: hashlib.sha256(Path(file).read_bytes()).hexdigest() for bundle, file in weights.items()
        },
    }


def machine(threads: int) -> dict[str, Any]:
    """When, from which commit, on what and with which versions something is measured."""
    return {
        "date": date.today().isoformat(),
        "commit": _said_by("git", "describe", "--always", "--dirty"),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads_used": threads,
            "memory_gb": round(memory_gb(), 1),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in LIBRARIES},
        },
    }


def memory_gb() -> float:
    """Main memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _said_by(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
