"""Only a box of the grid is run; its slabs come back as slabs of the whole grid."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from radseg.pipelines.engine.crop import in_whole_grid, rounded_box
from radseg.pipelines.engine.slab import Slab


@given(data=st.data())
def test_a_rounded_box_holds_the_box_inside_the_grid_in_whole_multiples(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    multiple = data.draw(st.integers(1, 64))
    ((first, end),) = rounded_box(((start, stop),), [size], [multiple])
    assert 0 <= first <= start < stop <= end <= size
    assert (end - first) % multiple == 0 or (first, end) == (0, size)
    assert end - first < stop - start + multiple


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("covered", [True, False])
def test_slabs_of_a_box_land_where_the_box_is_and_nothing_else_is_covered(axis: int, covered: bool) -> None:
    shape, box = (6, 7, 8), ((1, 5), (0, 7), (3, 6))
    size = [stop - start for start, stop in box]
    inside = torch.rand(2, *size)
    flags = torch.rand(size) > 0.5 if covered else torch.ones(size, dtype=torch.bool)
    cuts = [0, 2, size[axis]]
    slabs = [
        Slab(
            axis,
            start,
            stop,
            inside.narrow(1 + axis, start, stop - start).clone(),
            flags.narrow(axis, start, stop - start).clone() if covered else None,
        )
        for start, stop in pairwise(cuts)
    ]
    whole = list(in_whole_grid(iter(slabs), box, shape))
    assert [slab.start for slab in whole] == [0, *(slab.stop for slab in whole[:-1])]
    assert whole[-1].stop == shape[axis]
    logits = torch.cat([slab.logits for slab in whole], 1 + axis)
    reached = torch.cat([slab.covered for slab in whole if slab.covered is not None], axis)
    assert logits.shape == (2, *shape)
    assert torch.equal(logits[:, 1:5, :, 3:6], inside)
    assert torch.equal(reached[1:5, :, 3:6], flags)
    assert reached.sum() == flags.sum()


def test_a_box_that_is_the_whole_grid_changes_nothing() -> None:
    slab = Slab(0, 0, 4, torch.rand(1, 4, 5, 6))
    (same,) = in_whole_grid([slab], ((0, 4), (0, 5), (0, 6)), (4, 5, 6))
    assert same is slab
