"""Tells whether two recipes are the same: a hash over how their components were made."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

_DEPTH = 32  # against components that hold each other; nested transforms take three levels each


def fingerprint(recipe: object) -> str:
    """Hexadecimal sha256 over the classes and settings of components (transforms, inferers, losses) and plain values.

    A config's overrides act on its components, whichever way the config is run, so what the components hold says more
    than a list of overrides. Random states, tensors' contents and private attributes don't count: a recipe that was
    run is the recipe that it was.
    """
    return hashlib.sha256(json.dumps(_plain(recipe, _DEPTH), sort_keys=True).encode()).hexdigest()


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth == 0:
        return type(value).__qualname__
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(one, depth - 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth - 1) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, Path | torch.device | torch.dtype):
        return str(value)
    if isinstance(value, torch.Tensor | np.ndarray):
        return [str(value.dtype), list(value.shape)]
    if hasattr(value, "__code__"):  # a function or lambda of the config
        return [value.__qualname__, value.__code__.co_code.hex(), repr(value.__code__.co_consts)]
    if isinstance(value, np.random.RandomState | type) or not hasattr(value, "__dict__") or depth == 1:
        return type(value).__qualname__
    held = {name: one for name, one in vars(value).items() if not name.startswith("_") and name != "R"}
    return {"class": type(value).__qualname__, **_plain(held, depth - 1)}
