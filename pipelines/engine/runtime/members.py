"""Several opinions on one window: a network on mirror images of it, and several networks."""

from collections.abc import Sequence

import torch
from torch import nn

from radseg.pipelines.engine.runtime.network import RuntimeNetwork
from radseg.pipelines.errors import ConfigError


class Members(nn.Module):
    """Runs every network on every flip of a window and gives their logits side by side along the channels.

    Args:
        networks: each maps (batch, channels, *window) to logits (batch, classes, *window).
        flips: the spatial axes of a window (0 is the first after the channels) to mirror, one entry a flip; `()` is the
            window as it is.

    Attributes:
        members: how many opinions there are, networks times flips; network by network, flip by flip.
        notes: the networks' notes, each once.

    Raises:
        ConfigError: no network, no flip, the same flip twice or an axis below 0.
    """

    def __init__(self, networks: Sequence[nn.Module], flips: Sequence[Sequence[int]] = ((),)) -> None:
        super().__init__()
        self.flips = [tuple(sorted(flip)) for flip in flips]
        axes = [axis for flip in self.flips for axis in flip]
        if not networks or not self.flips:
            raise ConfigError("members need at least one network and one flip; () is the window as it is")
        repeated = len(set(self.flips)) < len(self.flips) or any(len(set(flip)) < len(flip) for flip in self.flips)
        if repeated or min(axes, default=0) < 0:
            raise ConfigError(f"flips {list(flips)} can't be: each names spatial axes from 0 on, and none comes twice")
        self.networks = nn.ModuleList(networks)
        self.members = len(networks) * len(self.flips)
        self.notes: list[str] = []
        for network in networks:
            if isinstance(network, RuntimeNetwork):  # one list for all: a fallback that several had is said once
                self.notes += [note for note in network.notes if note not in self.notes]
                network.notes = self.notes

    @property
    def runtime(self) -> str:
        """The runtime of the networks; all that there are, joined by `+`, if one fell back."""
        return "+".join(dict.fromkeys(str(getattr(network, "runtime", "torch")) for network in self.networks))

    @property
    def device(self) -> torch.device | None:
        """Where the first network runs; None of a network that doesn't say."""
        return getattr(self.networks[0], "device", None)

    @property
    def precision(self) -> str:
        """The precision of the networks: exact or fast."""
        return "+".join(dict.fromkeys(str(getattr(network, "precision", "exact")) for network in self.networks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, *window) to logits (batch, members * classes, *window), member by member.

        Raises:
            ConfigError: a flip names an axis that the window hasn't.
        """
        last = max((axis for flip in self.flips for axis in flip), default=-1)
        if last >= x.ndim - 2:
            raise ConfigError(f"flips along axis {last}, but windows have {x.ndim - 2} axes: name 0 to {x.ndim - 3}")
        together: torch.Tensor | None = None
        for member, (network, flip) in enumerate((network, flip) for network in self.networks for flip in self.flips):
            axes = [2 + axis for axis in flip]
            logits = network(x.flip(axes) if axes else x)
            classes = logits.shape[1]
            if together is None:
                together = logits.new_empty((logits.shape[0], self.members * classes, *logits.shape[2:]))
            together[:, member * classes : (member + 1) * classes] = logits.flip(axes) if axes else logits
        assert together is not None
        return together

    def fall_back_to_cpu(self) -> None:
        """Takes every network off the GPU that can be."""
        for network in self.networks:
            if isinstance(network, RuntimeNetwork):
                network.fall_back_to_cpu()
