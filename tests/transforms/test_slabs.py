"""Counting slab by slab: the same numbers as on the whole, whatever the order of a mask in memory."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.transforms.slabs import count_labels, count_planes, foreground_box, memory_axes, slabs

ORDERS = list(itertools.permutations(range(3)))


def mask_in_order(seed: int, order: tuple[int, ...], density: float, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 9, 3)
    mask = np.zeros(shape[list(order)], dtype).transpose(np.argsort(order))
    mask[...] = rng.integers(1, 5, shape) * (rng.random(shape) < density)
    return mask[:: rng.choice([1, -1]), :: rng.choice([1, -1])]


masks = st.builds(
    mask_in_order, st.integers(0, 2**32 - 1), st.sampled_from(ORDERS), st.sampled_from([0.0, 0.02, 0.5, 1.0])
)


@settings(deadline=None, max_examples=100)
@given(masks)
def test_labels_are_counted_as_by_bincount(mask: np.ndarray) -> None:
    counts = count_labels(mask, 2)
    expected = np.bincount(mask.ravel(), minlength=3)
    assert counts[: len(expected)].tolist() == expected.tolist()
    assert counts.sum() == mask.size


@settings(deadline=None, max_examples=100)
@given(masks)
def test_voxels_of_each_plane_are_counted(mask: np.ndarray) -> None:
    for axis, counts in enumerate(count_planes(mask)):
        others = tuple(other for other in range(3) if other != axis)
        assert counts.tolist() == (mask > 0).sum(axis=others).tolist()


@settings(deadline=None, max_examples=100)
@given(masks)
def test_the_box_holds_all_foreground_and_touches_it_on_every_side(mask: np.ndarray) -> None:
    box = foreground_box(mask)
    where = np.argwhere(mask)
    if not len(where):
        assert box is None
        return
    assert box == tuple(slice(low, high + 1) for low, high in zip(where.min(0), where.max(0), strict=True))


@settings(deadline=None, max_examples=50)
@given(masks, st.integers(1, 100))
def test_slabs_cover_an_array_once(mask: np.ndarray, voxels: int) -> None:
    seen = np.zeros_like(mask)
    for index, slab in slabs(mask, voxels):
        assert np.shares_memory(slab, mask)
        seen[index] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(map(str, order)))
def test_axes_go_from_slowest_to_fastest(order: tuple[int, ...]) -> None:
    array = np.zeros((2, 3, 4)).transpose(order)
    assert memory_axes(array.shape, array.strides) == tuple(np.argsort(order))


def test_negative_labels_are_foreground_of_the_box() -> None:
    mask = np.zeros((4, 4), np.int16)
    mask[2, 1] = -1
    assert foreground_box(mask) == (slice(2, 3), slice(1, 2))
