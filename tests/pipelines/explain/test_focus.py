"""Which windows are explained: around the largest piece, of the size that the network was run with."""

import numpy as np
import torch
from monai.inferers import SimpleInferer, SliceInferer, SlidingWindowInferer

from radseg.pipelines.engine import WindowInferer
from radseg.pipelines.explain.focus import focus_on


def region(shape: tuple[int, ...], *pieces: tuple[tuple[int, int], ...]) -> np.ndarray:
    mask = np.zeros(shape, np.bool_)
    for piece in pieces:
        mask[tuple(slice(*ends) for ends in piece)] = True
    return mask


def test_of_a_volume_the_window_around_the_largest_piece_is_explained() -> None:
    mask = region((80, 80, 80), ((4, 8), (4, 8), (4, 8)), ((50, 60), (40, 50), (60, 70)))
    focus = focus_on(mask, WindowInferer([32, 32, 32], 1), None)
    assert focus.windows == (focus.box,) == (((39, 71), (29, 61), (48, 80)),)


def test_of_a_2d_network_every_slice_of_the_largest_piece_is_explained_whole() -> None:
    mask = region((64, 64, 30), ((4, 8), (4, 8), (2, 3)), ((30, 40), (30, 40), (10, 14)))
    focus = focus_on(mask, WindowInferer([-1, -1], 1, slice_axis=2), None)
    assert [window[2] for window in focus.windows] == [(10, 11), (11, 12), (12, 13), (13, 14)]
    assert focus.box == ((0, 64), (0, 64), (10, 14))


def test_only_what_the_network_was_given_is_explained() -> None:
    mask = region((64, 64, 9), ((20, 30), (20, 30), (4, 5)))
    seen = ((16, 48), (0, 32), (0, 9))
    assert focus_on(mask, WindowInferer([-1, -1], 1, slice_axis=2), seen).box == ((16, 48), (0, 32), (4, 5))


def test_a_truth_that_reaches_out_of_what_was_run_is_explained_on_the_whole_grid() -> None:
    mask = region((64, 64, 9), ((2, 30), (20, 30), (4, 5)))
    seen = ((16, 48), (0, 32), (0, 9))
    assert focus_on(mask, WindowInferer([-1, -1], 1, slice_axis=2), seen).box == ((0, 64), (0, 64), (4, 5))


def test_a_grid_smaller_than_a_window_is_padded_as_the_engine_pads() -> None:
    inferer = WindowInferer([32, 32, 32], 1)
    image = torch.rand(1, 1, 20, 32, 25)
    given: list[torch.Tensor] = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        given.append(windows)
        return windows

    inferer(image, network)
    focus = focus_on(region((20, 32, 25), ((1, 3), (1, 3), (1, 3))), inferer, None)
    (window,) = focus.windows
    cut = focus.cut(image, window)
    assert torch.equal(cut, given[0])
    assert torch.equal(focus.uncut(cut[0, 0], window), image[0, 0])


def test_windows_of_slices_come_back_to_their_slice() -> None:
    grid = torch.rand(2, 40, 9, 44)
    focus = focus_on(region((40, 9, 44), ((1, 30), (2, 5), (2, 40))), WindowInferer([24, 24], 1, slice_axis=1), None)
    again = torch.zeros([stop - start for start, stop in focus.box])
    for window in focus.windows:
        cut = focus.cut(grid, window)
        assert cut.shape == (2, 24, 24)
        again[focus.in_box(window)] = focus.uncut(cut[1], window)
    assert torch.equal(again, grid[1][tuple(slice(*ends) for ends in focus.box)])


def test_inferers_of_monai_say_their_windows_too() -> None:
    mask = region((64, 64, 64), ((30, 34), (30, 34), (30, 34)))
    assert focus_on(mask, SlidingWindowInferer([16, 16, 16]), None).size == (16, 16, 16)
    assert focus_on(mask, SliceInferer(roi_size=[64, 64], spatial_dim=0), None).slice_axis == 0
    assert focus_on(mask, SimpleInferer(), None).box == ((0, 64),) * 3


def test_a_network_that_takes_any_size_is_explained_in_bounded_memory() -> None:
    mask = region((400, 64, 400), ((300, 310), (30, 34), (100, 110)))
    focus = focus_on(mask, SimpleInferer(), None)
    assert np.prod(focus.size) <= 160**3
    assert all(start <= place < stop for place, (start, stop) in zip((305, 32, 105), focus.box, strict=True))
