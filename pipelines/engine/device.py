"""Chooses the device that a bundle runs on."""

import torch

from radseg.pipelines.errors import ConfigError


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """Device called `name`; `auto` is CUDA when there is one, else the CPU.

    Raises:
        ConfigError: the name isn't a device, or CUDA was asked for and isn't there.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r} is not known; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} isn't supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} was asked for, but no CUDA device is here; use --device cpu")
    return device
