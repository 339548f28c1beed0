"""Names a converted network by everything that decides what it computes."""

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

_PLAIN = (bool, int, float, str, bytes, tuple, frozenset, type(None))


def model_key(network: nn.Module, shape: tuple[int, ...]) -> str | None:
    """SHA-256, in hex, of weights, layers, their settings and source code, input shape and versions.

    None of a network whose source code is in no file, such as a notebook's: it could change unseen.
    """
    digest = hashlib.sha256()
    sources = _sources(network)
    if sources is None:
        return None
    said = [f"openvino {version('openvino')}", f"torch {torch.__version__}", f"shape {shape}", repr(network)]
    for name, module in network.named_modules():
        settings = sorted((key, value) for key, value in vars(module).items() if isinstance(value, _PLAIN))
        said.append(f"{name} {type(module).__module__}.{type(module).__qualname__} {settings}")
    for text in said:
        digest.update(text.encode() + b"\0")
    for path in sources:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name, tensor in sorted([*network.named_parameters(), *network.named_buffers()]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + b"\0")
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sources(network: nn.Module) -> list[Path] | None:
    """Files of the network's classes and of what those import from their own package; torch has its version."""
    names = {type(module).__module__ for module in network.modules()}
    waiting = sorted(name for name in names if name.partition(".")[0] != "torch")
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is None or file is None or not Path(file).is_file():
            return None
        found[name] = Path(file)
        waiting += sorted(_imported(module) - found.keys() - set(waiting))
    return [found[name] for name in sorted(found)]


def _imported(module: ModuleType) -> set[str]:
    package = (module.__package__ or "") + "."
    names = {
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        for value in vars(module).values()
    }
    return {name for name in names if isinstance(name, str) and name.startswith(package) and name in sys.modules}
