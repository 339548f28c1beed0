"""A volume too large for a page becomes a smaller one at the same place, in which no label is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radseg.pipelines.report.case_page.reduced import MOST_AXIS, reduce_blocks, reduced_affine, steps_within

steps = st.tuples(*[st.integers(1, 4)] * 3)
shapes = st.tuples(*[st.integers(1, 9)] * 3)


def test_what_fits_stays_as_it_is() -> None:
    assert steps_within((512, 512, 133), (0.7, 0.7, 2.5), 40_000_000) == (1, 1, 1)


def test_the_finest_axes_are_reduced_first_and_alike() -> None:
    assert steps_within((512, 512, 400), (0.7, 0.7, 2.5), 40_000_000) == (2, 2, 1)
    assert steps_within((1000, 1000, 1000), (0.5, 0.5, 0.5), 40_000_000) == (3, 3, 3)


def test_no_axis_is_longer_than_graphics_processors_take() -> None:
    by_step = steps_within((MOST_AXIS + 1, 10, 10), (1.0, 1.0, 1.0), 10**9)
    assert by_step == (2, 1, 1)


@given(shapes, steps, st.sampled_from(["C", "F"]), st.integers(0, 2**32 - 1))
def test_blocks_are_the_mean_or_the_largest_of_their_voxels(
    shape: tuple[int, int, int], by: tuple[int, int, int], order: str, seed: int
) -> None:
    array = np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16, order=order)  # type: ignore[call-overload]
    mean = reduce_blocks(array, by, "mean", np.int16)
    largest = reduce_blocks(array, by, "largest", np.int16)
    assert mean.shape == largest.shape == tuple(-(-n // step) for n, step in zip(shape, by, strict=True))
    for at in np.ndindex(mean.shape):
        block = array[tuple(slice(i * step, (i + 1) * step) for i, step in zip(at, by, strict=True))]
        assert abs(float(mean[at]) - block.mean()) <= 0.5 + 1e-9
        assert largest[at] == block.max()


def test_a_lesion_of_one_voxel_is_still_there() -> None:
    mask = np.zeros((30, 30, 30), np.uint8)
    mask[17, 5, 29] = 2
    small = reduce_blocks(mask, (4, 4, 4), "largest", np.uint8)
    assert np.argwhere(small == 2).tolist() == [[4, 1, 7]]


@given(steps)
def test_blocks_lie_in_the_patient_where_their_voxels_did(by: tuple[int, int, int]) -> None:
    affine = np.array([[0.0, -0.8, 0.1, 40], [0.7, 0, 0, -20], [0, 0.2, 2.5, 300], [0, 0, 0, 1]])
    block = np.array([2, 3, 1])
    voxels = np.array([block * by + offset for offset in np.ndindex(by)])
    centre = (voxels @ affine[:3, :3].T + affine[:3, 3]).mean(axis=0)
    small = reduced_affine(affine, by)
    assert small[:3, :3] @ block + small[:3, 3] == pytest.approx(centre)


def test_values_beyond_the_type_are_cut_and_not_wrapped() -> None:
    array = np.array([[[40000.0, -40000.0, 10.4, 10.6]]], np.float32)
    assert reduce_blocks(array, (1, 1, 1), "mean", np.int16).ravel().tolist() == [32767, -32768, 10, 11]
