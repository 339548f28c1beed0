"""The layer of a network that is explained, by its name."""

import difflib

from torch import nn

from radseg.pipelines.errors import ConfigError


def find_layer(network: nn.Module, name: str | None) -> nn.Module:
    """The layer of that name, as torch's `named_modules` writes it: `decoder.level1`.

    Raises:
        ConfigError: there is none, with the nearest name; or no name was given.
    """
    layers: dict[str, nn.Module] = {path: module for path, module in network.named_modules() if path}
    if name in layers:
        return layers[name]
    kind = type(network).__name__
    outermost = ", ".join(path for path in layers if "." not in path)
    if name is None:
        raise ConfigError(f"the bundle names no explain_layer; give --layer, {kind} is made of {outermost}")
    near = difflib.get_close_matches(name, layers, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"it is made of {outermost}"
    raise ConfigError(f"{kind} has no layer {name!r}: {hint}")
