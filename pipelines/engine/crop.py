"""A box of the network's grid that is worth running, and its slabs put back into the whole grid."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from radseg.pipelines.engine.slab import Slab

Box = tuple[tuple[int, int], ...]


def rounded_box(box: Box, shape: Sequence[int], multiples: Sequence[int]) -> Box:
    """The box grown on both sides until each length is a multiple of its axis' number, or the whole axis.

    Runtimes load a network anew for each size of window: few sizes are few loadings.

    Args:
        box: start and stop along each axis.
        shape: of the grid.
        multiples: for each axis; 1 keeps it.
    """
    return tuple(_rounded(*ends, size, multiple) for ends, size, multiple in zip(box, shape, multiples, strict=True))


def _rounded(start: int, stop: int, size: int, multiple: int) -> tuple[int, int]:
    length = -(-(stop - start) // multiple) * multiple
    if length >= size:
        return 0, size
    first = min(max(start - (length - (stop - start)) // 2, 0), size - length)
    return first, first + length


def in_whole_grid(slabs: Iterable[Slab], box: Box, shape: Sequence[int]) -> Iterator[Slab]:
    """Slabs of a box as slabs of the whole grid, not covered where the box doesn't reach.

    Args:
        slabs: of the box, in order.
        box: start and stop along each axis of the grid.
        shape: of the grid.
    """
    if all(ends == (0, size) for ends, size in zip(box, shape, strict=True)):
        yield from slabs
        return
    begun = False
    for slab in slabs:
        first, end = box[slab.axis]
        inside = list(box)
        inside[slab.axis] = (0, slab.stop - slab.start)
        thickness = slab.stop - slab.start
        if not begun:
            yield from _no_slabs(slab, 0, first, thickness, shape)
        begun = True
        placed = _nothing(slab, first + slab.start, first + slab.stop, shape)
        part = (slice(None), *(slice(*ends) for ends in inside))
        placed.logits[part] = slab.logits
        assert placed.covered is not None
        placed.covered[part[1:]] = True if slab.covered is None else slab.covered
        last = first + slab.stop == end
        like = replace(slab, logits=slab.logits[:, :0, :0, :0].clone(), covered=None)  # of its kind, without its memory
        del slab
        yield placed
        del placed
        if last:
            yield from _no_slabs(like, end, shape[like.axis], thickness, shape)


def _no_slabs(like: Slab, start: int, stop: int, thickness: int, shape: Sequence[int]) -> Iterator[Slab]:
    """Slabs of the grid that no window covered, each as thick as those of the box."""
    for first in range(start, stop, max(1, thickness)):
        yield _nothing(like, first, min(first + thickness, stop), shape)


def _nothing(like: Slab, start: int, stop: int, shape: Sequence[int]) -> Slab:
    """A slab of the grid that no window covered."""
    size = list(shape)
    size[like.axis] = stop - start
    return Slab(
        like.axis,
        start,
        stop,
        like.logits.new_zeros((like.logits.shape[0], *size)),
        torch.zeros(size, dtype=torch.bool, device=like.logits.device),
    )
