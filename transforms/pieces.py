"""The connected pieces of a label mask, found from its runs: memory grows with the outline, not with the volume.

A run is a stretch of one label along the axis that is fastest in memory. Runs are the nodes of a graph, touching runs
of one label its edges; a mask of 1,024 slices has about a million of them where it has 270 million voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from radseg.transforms.slabs import SLAB_VOXELS, foreground_box, memory_axes

Integers = npt.NDArray[np.int64]
_MOST_INDICES = 1 << 20


@dataclass(frozen=True, eq=False)
class Pieces:
    """Connected pieces, corners counted as contact, of all labels of a mask.

    Attributes:
        label: of each piece.
        voxels: of each piece.
        first: where each piece's first voxel stands in the mask's elements counted in index order.
        lower, upper: of each piece, the first voxel along each axis and the one after the last, (pieces, axes).
    """

    label: Integers
    voxels: Integers
    first: Integers
    lower: Integers
    upper: Integers
    _mask: npt.NDArray[Any]
    _runs: tuple[Integers, Integers, Integers]  # places of their first voxels (axes, runs), their lengths, their pieces

    def clear(self, pieces: npt.NDArray[np.bool_]) -> None:
        """Set the voxels of these pieces to 0 in the mask itself."""
        places, lengths, piece = self._runs
        runs = np.flatnonzero(pieces[piece])
        fastest = memory_axes(self._mask.shape, self._mask.strides)[-1]
        ends = np.cumsum(lengths[runs])
        done = 0
        while done < len(runs):
            before = ends[done] - lengths[runs[done]]
            until = max(done + 1, int(np.searchsorted(ends, before + _MOST_INDICES)))
            chosen = runs[done:until]
            within = np.arange(ends[until - 1] - before) - np.repeat(
                ends[done:until] - lengths[chosen] - before, lengths[chosen]
            )
            index = [np.repeat(place, lengths[chosen]) for place in places[:, chosen]]
            index[fastest] += within
            self._mask[tuple(index)] = 0
            done = until

    def run_centres(self) -> tuple[npt.NDArray[np.float64], Integers, Integers]:
        """Middles of the runs in voxels (runs, axes), how many voxels each has, and the piece that it belongs to."""
        places, lengths, piece = self._runs
        centres = places.T.astype(np.float64)
        centres[:, memory_axes(self._mask.shape, self._mask.strides)[-1]] += (lengths - 1) / 2
        return centres, lengths, piece

    def groups(self, block: Sequence[int]) -> Integers:
        """The group of each piece, from 0: pieces in blocks of so many voxels along each axis that touch are one."""
        places, lengths, piece = self._runs
        blocks = [-(-size // edge) for size, edge in zip(self._mask.shape, block, strict=True)]
        taken = np.zeros(blocks, bool)
        fastest = memory_axes(self._mask.shape, self._mask.strides)[-1]
        where = [place // edge for place, edge in zip(places, block, strict=True)]
        last = (places[fastest] + lengths - 1) // block[fastest]
        where_first = tuple(where)
        for further in range(int((last - where[fastest]).max(initial=-1)) + 1):
            where[fastest] = np.minimum(where_first[fastest] + further, last)
            taken[tuple(where)] = True
        group, _ = ndimage.label(taken, np.ones((3,) * taken.ndim))
        of_piece = np.empty(len(self.label), np.int64)
        of_piece[piece] = group[where_first] - 1
        return of_piece


def find_pieces(mask: npt.NDArray[Any]) -> Pieces:
    """Return the pieces of an integer mask (H, W) or (H, W, D); values of 0 and below are background."""
    box = foreground_box(mask) or (slice(0, 0),) * mask.ndim
    axes = memory_axes(mask.shape, mask.strides)
    inside = mask[box].transpose(axes)
    inside = inside[(None,) * (3 - mask.ndim)]
    start, stop, label = _runs(inside)
    count, piece = _joined(start, stop, label, inside.shape)
    lengths = stop - start
    # a row and a line of nothing lie between neighbours, see _runs
    lines, x = np.divmod(start, inside.shape[2] + 1)
    z, y = np.divmod(lines, inside.shape[1] + 1)
    places = np.empty((mask.ndim, len(start)), np.int64)
    for axis, place in zip(axes, (z, y, x)[3 - mask.ndim :], strict=True):
        places[axis] = place + box[axis].start
    ends = places + 1
    ends[axes[-1]] += lengths - 1
    elements = np.asarray(np.ravel_multi_index(tuple(places), mask.shape), np.int64)
    order, heads = _groups(piece, count)
    return Pieces(
        label=label[order][heads].astype(np.int64),
        voxels=_reduced(np.add, lengths, order, heads),
        first=_reduced(np.minimum, elements, order, heads),
        lower=np.stack([_reduced(np.minimum, place, order, heads) for place in places], axis=1),
        upper=np.stack([_reduced(np.maximum, end, order, heads) for end in ends], axis=1),
        _mask=mask,
        _runs=(places, lengths, piece),
    )


def _runs(volume: npt.NDArray[Any]) -> tuple[Integers, Integers, npt.NDArray[Any]]:
    """Return where runs start and stop, and their labels, in a volume whose rows and planes each end in one more 0."""
    depth, height, width = volume.shape
    plane = (height + 1) * (width + 1)
    thickness = max(1, SLAB_VOXELS // plane)
    # the background around every row keeps runs of different rows apart, and neighbours at a fixed distance
    padded = np.zeros((thickness, height + 1, width + 1), volume.dtype)
    found: list[tuple[Integers, Integers, npt.NDArray[Any]]] = []
    for first in range(0, depth, thickness):
        part = volume[first : first + thickness]
        padded[: len(part), :height, :width] = part
        flat = padded[: len(part)].reshape(-1)
        changes = np.concatenate([[0] if flat[0] else [], np.flatnonzero(flat[1:] != flat[:-1]) + 1]).astype(np.int64)
        values = flat[changes]
        runs = np.flatnonzero(values > 0)
        found.append((changes[runs] + first * plane, changes[runs + 1] + first * plane, values[runs]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, volume.dtype)
    start, stop, label = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return start, stop, label


def _joined(start: Integers, stop: Integers, label: npt.NDArray[Any], shape: tuple[int, ...]) -> tuple[int, Integers]:
    """Return the number of pieces and the piece of each run."""
    row, plane = shape[2] + 1, (shape[1] + 1) * (shape[2] + 1)
    ones, others = [], []
    for away in (row, plane - row, plane, plane + row):  # the rows before in which a neighbour can be
        lowest = np.searchsorted(stop, start - away, side="left")
        touching = np.maximum(np.searchsorted(start, stop - away, side="right") - lowest, 0)
        one = np.repeat(np.arange(len(start)), touching)
        other = np.arange(len(one)) + np.repeat(lowest - np.cumsum(touching) + touching, touching)
        same = label[one] == label[other]
        ones.append(one[same])
        others.append(other[same])
    one, other = np.concatenate(ones), np.concatenate(others)
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(len(start), len(start)))
    count, piece = connected_components(graph, directed=False)
    return int(count), piece.astype(np.int64)


def _groups(piece: Integers, count: int) -> tuple[Integers, Integers]:
    order = np.argsort(piece, kind="stable")
    return order, np.searchsorted(piece[order], np.arange(count))


def _reduced(function: np.ufunc, values: Integers, order: Integers, heads: Integers) -> Integers:
    reduced: Integers = function.reduceat(values[order], heads) if len(heads) else np.zeros(0, np.int64)
    return reduced
