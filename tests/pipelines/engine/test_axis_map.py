"""One axis of a regrid: the right weights, from the right voxels, and no others."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from radseg.pipelines.engine.axis_map import AxisMap


def linear(n: int, m: int) -> torch.Tensor:
    return F.interpolate(torch.eye(n)[None], size=m, mode="linear", align_corners=False)[0].T.contiguous()


def widened(n: int, m: int) -> torch.Tensor:
    wide = torch.eye(n)[:, None, :, None].repeat(1, 1, 1, 2)
    return F.interpolate(wide, size=(m, 2), mode="bilinear", antialias=True)[:, 0, :, 0].T.contiguous()


ranges = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 300), ranges, st.sampled_from([linear, widened]))
def test_any_part_of_the_source_is_the_whole_product_cut_to_it(
    n: int, m: int, part: list[float], kernel: object
) -> None:
    weights = kernel(n, m)  # type: ignore[operator]
    axis = AxisMap(n, weights)
    start = int(part[0] * (m - 1))
    stop = max(start + 1, int(part[1] * m))
    low, high = axis.corners(start, stop)
    values = torch.randn(2, n, 3, generator=torch.Generator().manual_seed(0))
    whole = torch.einsum("mn,anb->amb", weights, values)[:, start:stop]
    crop = values[:, low:high]
    torch.testing.assert_close(axis.rows(crop, low, start, stop), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(axis.columns(crop.mT, low, start, stop).mT, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(axis.along(1, crop, low, start, stop), whole, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 90), st.sampled_from([linear, widened]), st.integers(0, 39))
def test_no_voxel_outside_its_reach_has_a_part_in_it(n: int, m: int, kernel: object, voxel: int) -> None:
    weights = kernel(n, m)  # type: ignore[operator]
    axis, voxel = AxisMap(n, weights), voxel % n
    start, stop = axis.reach(voxel, voxel + 1)
    touched = np.flatnonzero(weights[:, voxel].numpy())
    assert not len(touched) or (start <= touched[0] and touched[-1] < stop)
    made = axis.finished(voxel + 1)
    assert not weights[:made, voxel + 1 :].any()
    assert made == m or weights[made, voxel + 1 :].any()


def test_an_axis_that_stays_is_passed_through() -> None:
    axis = AxisMap.identity(5)
    values = torch.arange(10.0).reshape(1, 5, 2)
    assert torch.equal(axis.rows(values[:, 1:], 1, 2, 4), values[:, 2:4])
    assert torch.equal(axis.along(1, values, 0, 2, 4), values[:, 2:4])
    assert axis.convex
    assert (axis.reach(1, 3), axis.corners(1, 3), axis.finished(3)) == ((1, 3), (1, 3), 3)


def test_weights_below_zero_are_told() -> None:
    assert AxisMap(2, torch.tensor([[0.5, 0.5]])).convex
    assert not AxisMap(2, torch.tensor([[1.5, -0.5]])).convex


def test_two_regrids_after_each_other_are_one() -> None:
    first, second = linear(6, 11), linear(11, 4)
    assert torch.equal(AxisMap.identity(6).then(first).then(second).weights, second @ first)  # type: ignore[arg-type]


def test_weights_that_leave_a_voxel_unmade_are_refused() -> None:
    with pytest.raises(ValueError, match="don't make every voxel"):
        AxisMap(2, torch.tensor([[1.0, 0], [0, 0]]))
