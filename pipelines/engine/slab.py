"""A finished part of a network's answer, handed on while the rest of the grid is still being run."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Slab:
    """Logits of the voxels [start, stop) of one axis; slabs come in order, without gaps, and cover the grid.

    Attributes:
        axis: spatial axis of the network's grid along which slabs follow each other (0, 1 or 2).
        start: first voxel of that axis.
        stop: voxel after the last one.
        logits: (channels, *spatial) float32; `stop - start` voxels along `axis`, the whole grid along the others. It
            belongs to whoever takes the slab: nobody else reads or changes it.
        covered: (*spatial) bool, the voxels that any window covered; None is all of them. Logits of the others are 0,
            and they are background.
    """

    axis: int
    start: int
    stop: int
    logits: torch.Tensor
    covered: torch.Tensor | None = None
