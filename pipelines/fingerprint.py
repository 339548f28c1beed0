"""Tells whether two recipes are the same: a hash over how their components were made."""

import functools
import hashlib
import inspect
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import torch

_DEPTH = 32  # against components that hold each other; nested transforms take three levels each


def fingerprint(recipe: object) -> str:
    """Hexadecimal sha256 over the classes and settings of components (transforms, inferers, losses) and plain values.

    A config's overrides act on its components, whichever way the config is run, so what the components hold says more
    than a list of overrides. A function counts with its code, defaults and what it encloses, an array with its
    content, an optimiser with its rates and not its state. Random states, a network's weights and private attributes
    don't count.
    """
    return hashlib.sha256(json.dumps(_plain(recipe, _DEPTH), sort_keys=True).encode()).hexdigest()


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth == 0:
        return type(value).__qualname__
    if isinstance(value, Mapping):
        return {str(key): _plain(one, depth - 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth - 1) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor | np.ndarray):
        return _array(value)
    if isinstance(value, Path | torch.device | torch.dtype | slice | range | bytes | complex | Enum):
        return str(value)
    if isinstance(value, CodeType):
        # not its repr, which holds an address
        return [value.co_code.hex(), list(value.co_names), _plain(value.co_consts, depth - 1)]
    if callable(value):
        called = _callable(value, depth - 1)
        if called is not None:
            return called
    return _component(value, depth)


def _callable(value: Any, depth: int) -> Any:
    """What tells a class, a function, a method or a partial call from another; None of an object that can be called."""
    if isinstance(value, functools.partial):
        return ["partial", *(_plain(one, depth) for one in (value.func, value.args, value.keywords))]
    if hasattr(value, "__func__"):
        return [_plain(value.__func__, depth), _plain(value.__self__, depth)]
    if hasattr(value, "__code__"):
        enclosed = inspect.getclosurevars(value).nonlocals
        settings = (value.__code__, value.__defaults__, value.__kwdefaults__, enclosed)
        return [value.__qualname__, *(_plain(one, depth) for one in settings)]
    if hasattr(value, "__name__"):  # a class, or written in C
        return str(getattr(value, "__qualname__", value.__name__))
    return None


def _component(value: Any, depth: int) -> Any:
    name = type(value).__qualname__
    if isinstance(value, torch.optim.Optimizer):
        # the rate of a group falls with time; the one that it began with is a default
        groups = [
            {key: one for key, one in group.items() if key not in ("params", "lr", "initial_lr")}
            for group in value.param_groups
        ]
        return {"class": name, "defaults": _plain(value.defaults, depth - 1), "groups": _plain(groups, depth - 1)}
    if isinstance(value, np.random.RandomState) or not hasattr(value, "__dict__") or depth == 1:
        return name
    held = {key: one for key, one in vars(value).items() if not key.startswith("_") and key != "R"}
    if isinstance(value, torch.nn.Module):
        weights = {key: list(one.shape) for key, one in value.named_parameters(recurse=False)}
        held |= {**dict(value.named_children()), **weights}
        # a loss's weights of classes; what a network has is its own running statistics
        held |= {} if any(True for _ in value.parameters()) else dict(value.named_buffers(recurse=False))
    return {"class": name, **_plain(held, depth - 1)}


def _array(value: Any) -> list[Any]:
    """Type, shape and content of an array; a tensor is read as it lies in main memory."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().as_subclass(torch.Tensor).cpu().contiguous()
        content = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    elif value.dtype.hasobject:
        content = repr(value.tolist()).encode()
    else:
        content = np.ascontiguousarray(value).tobytes()
    return [str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()]
