"""What results were computed with: the machine, and the commit of a checkout."""

import os
import platform
import subprocess
from pathlib import Path

import torch

import radseg.pipelines
from radseg.pipelines.engine import pick_device
from radseg.pipelines.experiments.results import Machine, Origin


def describe_machine(device: str = "auto") -> Machine:
    """This machine, and the device that `device` means on it.

    Raises:
        ConfigError: there is no such device.
    """
    chosen = pick_device(device)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=round(pages / 1e9, 1),
        device=torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "CPU",
    )


def origin_here(device: str = "auto") -> Origin:
    """This checkout's commit and this machine with the device that `device` means on it.

    Raises:
        ConfigError: there is no such device.
    """
    return Origin(commit(), describe_machine(device))


def commit() -> str | None:
    """The commit that radseg runs from, with "-dirty" if files were changed since; None if it isn't a checkout."""
    root = Path(radseg.pipelines.__file__).resolve().parents[1]
    if not (root / ".git").exists():  # installed, perhaps inside somebody else's checkout
        return None
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return None
    return said.stdout.strip() or None


def _cpu() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
