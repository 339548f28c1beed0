"""What time it is once a device has done what it was told; CUDA computes behind the program's back."""

from __future__ import annotations

import time

import torch


def seconds_on(device: torch.device | str) -> float:
    """Seconds of a clock without an origin, read when `device` is through with all its work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
