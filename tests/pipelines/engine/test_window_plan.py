"""Where windows lie on a grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from radseg.pipelines.engine.windows import WindowInferer, WindowPlan
from radseg.pipelines.errors import ConfigError

axis = st.tuples(st.integers(1, 40), st.integers(1, 40), st.floats(0, 0.9))


@settings(deadline=None, max_examples=100)
@given(st.lists(axis, min_size=2, max_size=3))
def test_windows_lie_where_monai_lays_them(axes: list[tuple[int, int, float]]) -> None:
    shape, roi, overlap = ([each[n] for each in axes] for n in range(3))
    padded = [max(size, window) for size, window in zip(shape, roi, strict=True)]
    interval = _get_scan_interval(padded, roi, len(shape), overlap)
    stock = dense_patch_slices(padded, roi, interval, return_slice=False)
    plan = WindowInferer(roi, overlap=overlap).plan(shape)
    clipped = np.minimum(np.array(stock), np.array(shape)[:, None])
    assert sorted(map(tuple, plan.windows.reshape(plan.run, -1).tolist())) == sorted(
        tuple(box.ravel().tolist()) for box in clipped
    )
    assert plan.total == plan.run == len(stock)


@settings(deadline=None, max_examples=100)
@given(st.lists(axis, min_size=2, max_size=3))
def test_windows_are_in_slab_order_and_slabs_cover_the_axis(axes: list[tuple[int, int, float]]) -> None:
    shape, roi, overlap = ([each[n] for each in axes] for n in range(3))
    plan = WindowInferer(roi, overlap=overlap).plan(shape)
    assert (np.diff(plan.windows[:, plan.slab_axis, 0]) >= 0).all()
    assert plan.bounds[0] == 0
    assert plan.bounds[-1] == shape[plan.slab_axis]
    assert (np.diff(plan.bounds) > 0).all()


def test_slabs_follow_the_axis_that_is_longest_in_windows() -> None:
    assert WindowInferer((64, 16, 64)).plan((128, 96, 128)).slab_axis == 1
    assert WindowInferer(96).plan((239, 239, 222)).slab_axis == 0
    assert WindowInferer((64, 64), slice_axis=2).plan((256, 256, 20)).slab_axis == 2
    assert WindowInferer(96, slab_axis=2).plan((239, 239, 222)).slab_axis == 2


def test_no_size_or_a_negative_one_is_the_size_of_the_grid() -> None:
    assert WindowInferer((-1, 8, 0)).plan((20, 30, 40)).window == (20, 8, 40)
    assert WindowInferer(None).plan((20, 30)).window == (20, 30)
    assert WindowInferer((None, 8), slice_axis=0).plan((20, 30, 40)).window == (1, 30, 8)


def test_only_windows_whose_core_is_needed_are_planned() -> None:
    asked: list[np.ndarray] = []

    def needed(boxes: np.ndarray) -> np.ndarray:
        asked.append(boxes)
        return np.asarray(boxes[:, 0, 1] > 30)

    plan = WindowInferer((16, 16, 16), overlap=0).plan((40, 10, 20), needed)
    assert isinstance(plan, WindowPlan)
    assert (plan.run, plan.total) == (2, 6)
    assert (plan.windows[:, 0] == [24, 40]).all()
    assert (asked[0][:, 1] == [0, 10]).all(), "boxes end where the grid does"
    assert asked[0].max() == 40


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(*[st.integers(3, 24)] * 3),
    window=st.tuples(*[st.integers(3, 20)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
)
def test_cores_fill_the_grid_and_lie_in_their_windows(
    shape: tuple[int, ...], window: tuple[int, ...], overlap: float
) -> None:
    asked: list[np.ndarray] = []

    def all_of_them(boxes: np.ndarray) -> np.ndarray:
        asked.append(boxes)
        return np.ones(len(boxes), dtype=bool)

    plan = WindowInferer(window, overlap=overlap).plan(shape, all_of_them)
    (cores,) = asked
    counts = np.zeros(shape, dtype=int)
    for core in cores:
        counts[tuple(slice(start, stop) for start, stop in core)] += 1
    assert (counts == 1).all()
    assert (plan.windows[..., 0] <= cores[..., 0]).all()
    assert (plan.windows[..., 1] >= cores[..., 1]).all()


@pytest.mark.parametrize(
    ("options", "shape", "said"),
    [
        ({"roi_size": (8, 8)}, (9, 9, 9), "roi_size"),
        ({"roi_size": 8, "overlap": (0.5, 0.5)}, (9, 9, 9), "overlap"),
        ({"roi_size": 8, "slice_axis": 1}, (9, 9), "slice_axis 1"),
        ({"roi_size": 8, "slab_axis": 2}, (9, 9), "slab_axis 2"),
        ({"roi_size": 8, "overlap": 1.0}, (9, 9), "overlap 1.0"),
        ({"roi_size": 8, "sw_batch_size": 0}, (9, 9), "sw_batch_size 0"),
        ({"roi_size": 8, "slice_axis": 3}, (9, 9, 9), "slice_axis 3"),
    ],
    ids=["roi", "overlap", "slice of 2D", "slab of 2D", "all overlap", "no batch", "no such axis"],
)
def test_what_cannot_be_is_one_line(options: dict[str, object], shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        WindowInferer(**options).plan(shape)  # type: ignore[arg-type]
