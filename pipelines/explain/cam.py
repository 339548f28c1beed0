"""Grad-CAM and Grad-CAM++ of a segmentation: which features of a layer raise the logits of a region; MONAI's maps."""

import copy
from typing import Any

import torch
from monai.visualize import GradCAM, GradCAMpp
from torch import nn
from torch.nn import functional as F

from radseg.pipelines.errors import ConfigError, InputError
from radseg.pipelines.explain.layers import find_layer

METHODS = {"gradcam": GradCAM, "gradcam++": GradCAMpp}
SAID = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++", "attention": "attention gates"}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class RegionScore(nn.Module):
    """A network whose answer is the sum of one label's logits over a region, as a classifier's is one number.

    Vinogradova et al. 2020 (Seg-Grad-CAM), equation 2. The number itself is taken off again, which leaves all its
    derivatives: Grad-CAM++ takes its exponential, a factor common to all channels that thousands of logits overflow.

    Args:
        network: maps (1, channels, *window) to logits (1, classes, *window).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.region = torch.zeros(1)
        self.label, self.labels = 1, 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The window (1, channels, *window) to the score (1, 1).

        Raises:
            ConfigError: the layer that is explained has no part in the logits.
        """
        logits: torch.Tensor = self.network(x)
        class_logits = logits[:, self.label if logits.shape[1] > self.labels else self.label - 1]
        score = (class_logits.float() * self.region.to(logits.device)).sum().reshape(1, 1)
        if not score.requires_grad:
            raise ConfigError("the logits don't depend on that layer's output; name another with --layer")
        return score - score.detach()


class RegionCAM:
    """Heat maps of one layer of a network for a region of a label.

    The network is copied. Gradients reach back to the layer and no further, so that what comes before it takes no
    more memory than in segmentation.

    Args:
        network: as in `RegionScore`.
        layer: its name; its output has to be one tensor of feature maps.
        method: gradcam (Selvaraju et al. 2017) or gradcam++ (Chattopadhay et al. 2018).

    Attributes:
        network: the copy; its weights may be changed.
        notes: what had to be done otherwise, a line each.

    Raises:
        ConfigError: the network has no such layer.
    """

    names = ("heatmap",)
    bounded = False  # its values have no scale of their own

    def __init__(self, network: nn.Module, layer: str | None, method: str) -> None:
        self.layer, self.method = layer, method
        self.notes: list[str] = []
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        module = find_layer(self.network, layer)
        module.register_forward_pre_hook(_gradients_from_here, with_kwargs=True)
        module.register_forward_hook(self._check_output)
        self._outputs = 0
        self._score = RegionScore(self.network)
        self._cam = METHODS[method](self._score, f"network.{layer}")

    def coarse(self, x: torch.Tensor, region: torch.Tensor, label: int, labels: int) -> torch.Tensor:
        """The map on the layer's own grid, (1, 1, *features), float32, 0 or more, on the CPU.

        Args:
            x: window (1, channels, *window) as the network gets it.
            region: (*window), 1 where the label's logits are summed.
            label: 1, 2, ….
            labels: how many labels there are; one class more of logits is the background.

        Raises:
            ConfigError: the layer gives no feature maps, or has no part in the logits.
            InputError: the map isn't finite.
        """
        self._score.region, self._score.label, self._score.labels = region, label, labels
        try:
            raw = self._computed(x)
        except torch.OutOfMemoryError:
            self._score.cpu()
            self.notes.append("out of GPU memory: explained on the CPU")
            raw = self._computed(x)
        if not torch.isfinite(raw).all():
            raise InputError(
                f"{SAID[self.method]} gives numbers that aren't finite here; use another --method or --layer"
            )
        return raw

    def __call__(self, x: torch.Tensor, region: torch.Tensor, label: int, labels: int) -> list[torch.Tensor]:
        """The map enlarged to the window, (*window). Arguments and errors as `coarse`."""
        return [enlarged(self.coarse(x, region, label, labels), tuple(x.shape[2:]))]

    def _computed(self, x: torch.Tensor) -> torch.Tensor:
        self._outputs = 0
        device = next((weight.device for weight in self.network.parameters()), x.device)
        with torch.enable_grad():
            found: torch.Tensor = self._cam.compute_map(x.to(device), class_idx=0)
        return found.detach().float().cpu()

    def _check_output(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._outputs += 1
        if not isinstance(output, torch.Tensor) or output.ndim != self._score.region.ndim + 2:
            inside = next((f"{self.layer}.{name}" for name, _ in module.named_children()), None)
            hint = f", such as {inside!r}" if inside else ""
            raise ConfigError(f"layer {self.layer!r} doesn't give one tensor of feature maps: name another{hint}")
        if self._outputs > 1:
            raise ConfigError(f"layer {self.layer!r} is used more than once in the network: name one that is used once")


def enlarged(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """A map (1, 1, *features) as (*size), linear between the features' centres."""
    return F.interpolate(maps, size=size, mode=LINEAR[len(size)], align_corners=False)[0, 0]


def _gradients_from_here(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return _leaves(args), _leaves(kwargs)


def _leaves(value: Any) -> Any:
    """The same with each tensor of numbers as the beginning of a graph."""
    if isinstance(value, torch.Tensor):
        return value.detach().requires_grad_(True) if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(_leaves(one) for one in value)
    if isinstance(value, dict):
        return {key: _leaves(one) for key, one in value.items()}
    return value
