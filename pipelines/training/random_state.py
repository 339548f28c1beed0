"""The state of all random numbers, in a form that `torch.load(weights_only=True)` reads."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def take_random_state(device: torch.device) -> dict[str, Any]:
    """State of Python's, NumPy's and torch's random numbers, that of `device` included."""
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, torch.tensor(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(key).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def put_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Puts back what `take_random_state` gave."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, key, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, key.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
