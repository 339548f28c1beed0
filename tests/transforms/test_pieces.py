"""Pieces found from runs: those that scipy labels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from radseg.transforms import pieces
from radseg.transforms.pieces import find_pieces


def mask_in_order(seed: int, order: tuple[int, ...], density: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 10, len(order))
    mask = np.zeros(shape[list(order)], np.uint8).transpose(np.argsort(order))
    mask[...] = rng.integers(1, 4, shape) * (rng.random(shape) < density)
    return mask


orders = st.sampled_from([*itertools.permutations(range(3)), (0, 1), (1, 0)])
densities = st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9, 1.0])


def by_scipy(mask: np.ndarray) -> list[tuple[int, int, int]]:
    found = []
    for label in np.unique(mask[mask > 0]):
        numbered, count = ndimage.label(mask == label, structure=np.ones((3,) * mask.ndim))
        for piece in range(1, count + 1):
            voxels = np.flatnonzero(numbered.ravel() == piece)
            found.append((int(label), len(voxels), int(voxels[0])))
    return sorted(found)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), orders, densities, st.sampled_from([1, 50, 1 << 19]))
def test_pieces_are_those_of_scipy(seed: int, order: tuple[int, ...], density: float, slab: int) -> None:
    mask = mask_in_order(seed, order, density)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "SLAB_VOXELS", slab)
        found = find_pieces(mask)
    assert sorted(zip(found.label.tolist(), found.voxels.tolist(), found.first.tolist(), strict=True)) == by_scipy(mask)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), orders, densities, st.sampled_from([1, 3, 1 << 20]))
def test_clearing_takes_just_the_chosen_pieces(seed: int, order: tuple[int, ...], density: float, at_once: int) -> None:
    mask = mask_in_order(seed, order, density)
    before = mask.copy()
    found = find_pieces(mask)
    chosen = np.random.default_rng(seed).random(len(found.label)) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_MOST_INDICES", at_once)
        found.clear(chosen)
    assert ((mask == before) | (mask == 0)).all()
    left = [
        row
        for row, gone in zip(zip(found.label, found.voxels, found.first, strict=True), chosen, strict=True)
        if not gone
    ]
    assert by_scipy(mask) == sorted((int(a), int(b), int(c)) for a, b, c in left)
    for lower, upper, first in zip(found.lower, found.upper, found.first, strict=True):
        place = np.array(np.unravel_index(first, mask.shape))
        assert (lower <= place).all()
        assert (place < upper).all()
