"""How many windows a network gets at once: as many as asked for, fewer when memory runs out."""

from typing import Any

import torch


class BatchSize:
    """The batch of one run over a grid.

    Half as many windows each time memory runs out; at one window the network falls back to the CPU, if it can.

    Attributes:
        windows: how many windows to give to the network now.
    """

    def __init__(self, windows: int, network: Any) -> None:
        self.windows = windows
        self._network = network
        self._asked = windows
        self._fallen = False

    @property
    def fallen(self) -> bool:
        """Whether the network has left the GPU."""
        return self._fallen

    def can_shrink(self, error: RuntimeError) -> bool:
        """Whether `error` is a lack of memory that `shrink` can do something about."""
        lacking = isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()
        return lacking and (self.windows > 1 or (not self._fallen and hasattr(self._network, "fall_back_to_cpu")))

    def shrink(self) -> None:
        """Asks for less memory from now on."""
        if self.windows > 1:
            self.windows //= 2
        else:
            self._fallen = True
            self._network.fall_back_to_cpu()

    def succeeded(self) -> None:
        """Tells the network's notes, once, how many windows fit; a fall back to the CPU has a note of its own."""
        notes = getattr(self._network, "notes", None)
        if notes is None or self._fallen or self.windows == self._asked:
            return
        note = f"out of GPU memory: {self.windows} window{'s' * (self.windows > 1)} at a time"
        if note not in notes:
            notes.append(note)
