"""Windows give what MONAI's give, slab by slab, whatever memory there is."""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import SliceInferer, SlidingWindowInferer
from torch import nn

from radseg.pipelines.engine.slab import Slab
from radseg.pipelines.engine.windows import WindowInferer
from radseg.pipelines.errors import ConfigError


class _Network(nn.Module):
    """Logits that depend on where in the window a voxel lies, so that weights matter."""

    def __init__(self, axes: int, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        convolution = getattr(nn, f"Conv{axes}d")(channels, classes, 3, padding=1)
        convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator)
        convolution.bias.data.zero_()
        self.convolution = convolution
        self.batches: list[int] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(batch))
        ramp = torch.linspace(-1, 1, batch.shape[-1])
        logits: torch.Tensor = (
            self.convolution(batch) + 3 * ramp + batch.mean(dim=tuple(range(1, batch.ndim)), keepdim=True)
        )
        return logits


class _Short(_Network):
    """A network with memory for so many windows; on the CPU, for any number."""

    def __init__(self, fits: int, error: type[RuntimeError] = torch.OutOfMemoryError) -> None:
        super().__init__(3)
        self.fits, self.error = fits, error
        self.notes: list[str] = []
        self.falls = 0

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > self.fits:
            raise self.error("CUDA error: out of memory")
        return super().forward(batch)


class _ShortThatFalls(_Short):
    def fall_back_to_cpu(self) -> None:
        self.falls += 1
        self.fits = 1_000


def _image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """As close as convolutions are that run over batches of other sizes."""
    torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.detach().abs().max()), rtol=0)


def _joined(slabs: list[Slab]) -> torch.Tensor:
    assert [slab.start for slab in slabs[1:]] == [slab.stop for slab in slabs[:-1]]
    assert slabs[0].start == 0
    for slab in slabs:
        assert slab.logits.shape[1 + slab.axis] == slab.stop - slab.start
    return torch.cat([slab.logits for slab in slabs], 1 + slabs[0].axis)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_logits_are_those_of_monais_sliding_windows(data: st.DataObject) -> None:
    axes = data.draw(st.sampled_from([2, 3]), "axes")
    shape = data.draw(st.lists(st.integers(3, 26), min_size=axes, max_size=axes), "shape")
    roi = data.draw(st.lists(st.integers(2, 16) | st.just(-1), min_size=axes, max_size=axes), "roi")
    overlap = data.draw(st.lists(st.sampled_from([0, 0.25, 0.5, 0.7]), min_size=axes, max_size=axes), "overlap")
    batch, windows = data.draw(st.integers(1, 2), "batch"), data.draw(st.integers(1, 7), "windows")
    channels, classes = data.draw(st.integers(1, 2), "channels"), data.draw(st.integers(1, 3), "classes")
    slab_axis = data.draw(st.none() | st.integers(0, axes - 1), "slab axis")
    network, image = _Network(axes, channels, classes), _image(batch, channels, *shape)
    with torch.no_grad():
        stock = SlidingWindowInferer(roi, windows, overlap, mode="gaussian")(image, network)
        ours = WindowInferer(roi, windows, overlap, slab_axis=slab_axis)(image, network)
    torch.testing.assert_close(ours, stock, atol=1e-4 * float(stock.abs().max()), rtol=0)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_logits_of_slices_are_those_of_monais_slice_inferer(data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, 2), "slice axis")
    shape = data.draw(st.lists(st.integers(1, 20), min_size=3, max_size=3), "shape")
    roi = data.draw(st.lists(st.integers(3, 16) | st.just(-1), min_size=2, max_size=2), "roi")
    overlap = data.draw(st.sampled_from([0, 0.25, 0.5]), "overlap")
    windows = data.draw(st.integers(1, 9), "windows")
    slab_axis = data.draw(st.none() | st.integers(0, 2), "slab axis")
    network, image = _Network(2), _image(1, 1, *shape)
    with torch.no_grad():
        stock = SliceInferer(spatial_dim=axis, roi_size=roi, sw_batch_size=windows, overlap=overlap, mode="gaussian")(
            image, network
        )
        ours = WindowInferer(roi, windows, overlap, slice_axis=axis, slab_axis=slab_axis)(image, network)
    torch.testing.assert_close(ours, stock, atol=1e-4 * float(stock.abs().max()), rtol=0)


def test_slabs_come_in_order_and_are_what_a_call_gives() -> None:
    image, network, inferer = _image(1, 1, 20, 41, 17), _Network(3), WindowInferer(16, 3, 0.5)
    slabs = list(inferer.slabs(image, network))
    assert len(slabs) > 3
    assert all(slab.axis == 1 and slab.covered is None and slab.logits.dtype == torch.float32 for slab in slabs)
    assert torch.equal(_joined(slabs), inferer(image, network)[0])


def test_every_batch_is_full_but_the_last() -> None:
    network, inferer = _Network(3), WindowInferer(16, 5, 0.5)
    plan = inferer.plan((40, 30, 20))
    list(inferer.slabs(_image(1, 1, 40, 30, 20), network))
    assert network.batches[:-1] == [5] * (plan.total // 5)
    assert sum(network.batches) == plan.total


def _most_held(length: int, slice_axis: int | None) -> int:
    """Most bytes of slabs that lived at once while they were taken and dropped, and of the largest of them."""
    from radseg.pipelines.engine.slab_sums import SlabSums

    alive: dict[int, int] = {}
    most = 0
    make = SlabSums._empty

    def counted(self: SlabSums, slab: tuple[int, int]) -> torch.Tensor:
        nonlocal most
        made = make(self, slab)
        key = len(alive)
        alive[key] = made.nbytes
        weakref.finalize(made.untyped_storage(), alive.__setitem__, key, 0)
        most = max(most, sum(alive.values()))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SlabSums, "_empty", counted)
        roi = 16 if slice_axis is None else (16, 16)
        network = _Network(3 if slice_axis is None else 2)
        for slab in WindowInferer(roi, 2, 0.5, slice_axis=slice_axis).slabs(_image(1, 1, length, 20, 20), network):
            del slab
    assert len(alive) > 4
    return most


@pytest.mark.parametrize("slice_axis", [None, 0], ids=["boxes", "slices"])
def test_memory_grows_with_a_slab_and_not_with_the_volume(slice_axis: int | None) -> None:
    assert _most_held(96, slice_axis) == _most_held(192, slice_axis) <= 2 * 24 * 20 * 20 * 4 * 2


def _low_end(boxes: np.ndarray) -> np.ndarray:
    """Needs nothing but the far end of the first axis."""
    return np.asarray(boxes[:, 0, 1] > 60)


@pytest.mark.parametrize("overlap", [0, 0.5], ids=["apart", "overlapping"])
def test_windows_not_needed_are_not_run_and_their_voxels_not_covered(overlap: float) -> None:
    image, network, inferer = _image(1, 1, 80, 20, 20), _Network(3), WindowInferer(16, 3, overlap)
    plan = inferer.plan(image.shape[2:], _low_end)
    slabs = list(inferer.slabs(image, network, plan))
    assert sum(network.batches) == plan.run < plan.total
    covered = torch.cat(
        [
            torch.ones(slab.logits.shape[1:], dtype=torch.bool) if slab.covered is None else slab.covered
            for slab in slabs
        ]
    )
    truth = torch.zeros(80, 20, 20, dtype=torch.bool)
    for (i, i_), (j, j_), (k, k_) in plan.windows.tolist():
        truth[i:i_, j:j_, k:k_] = True
    assert torch.equal(covered, truth)
    assert slabs[-1].covered is None
    logits, whole = _joined(slabs), _joined(list(inferer.slabs(image, network)))
    assert (logits[:, ~covered] == 0).all()
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits[:, -8:], whole[:, -8:])


def test_slices_not_needed_are_not_run() -> None:
    image, network, inferer = _image(1, 1, 12, 12, 50), _Network(2), WindowInferer((12, 12), 4, slice_axis=2)
    plan = inferer.plan(image.shape[2:], lambda boxes: (boxes[:, 2, 0] >= 20) & (boxes[:, 2, 0] < 29))
    slabs = list(inferer.slabs(image, network, plan))
    logits, whole = _joined(slabs), _joined(list(inferer.slabs(image, network)))
    assert (plan.run, plan.total) == (9, 50)
    _same(logits[..., 20:29], whole[..., 20:29])
    assert not logits[..., :20].any()
    assert not logits[..., 29:].any()


def test_needing_no_window_costs_one_and_covers_nothing() -> None:
    network, inferer = _Network(3, classes=3), WindowInferer(16, 4, 0.5)
    plan = inferer.plan((40, 20, 20), lambda boxes: np.zeros(len(boxes), bool))
    progress: list[tuple[int, int]] = []
    slabs = list(inferer.slabs(_image(1, 1, 40, 20, 20), network, plan, lambda *counts: progress.append(counts)))
    assert network.batches == [1]
    assert progress == []
    assert _joined(slabs).shape == (3, 40, 20, 20)
    assert all(slab.covered is not None and not slab.covered.any() and not slab.logits.any() for slab in slabs)


def test_a_batch_over_two_far_regions_holds_nothing_of_what_lies_between() -> None:
    from radseg.pipelines.engine.slab_sums import SlabSums

    inferer = WindowInferer(16, 4, 0)
    plan = inferer.plan((320, 16, 16), lambda boxes: (boxes[:, 0, 0] < 16) | (boxes[:, 0, 1] > 310))
    sums = SlabSums(plan)
    sums.reserve(plan.windows, torch.zeros(2, 1, 16, 16, 16))
    assert len(sums._sums) == plan.run == 2


def test_a_plan_for_another_grid_is_refused() -> None:
    inferer = WindowInferer(16)
    with pytest.raises(ConfigError, match="plan anew"):
        next(inferer.slabs(_image(1, 1, 20, 20, 20), _Network(3), inferer.plan((20, 20, 21))))


def test_progress_is_told_after_each_batch() -> None:
    told: list[tuple[int, int]] = []
    inferer = WindowInferer(16, 3, 0.5)
    list(inferer.slabs(_image(1, 1, 30, 20, 16), _Network(3), progress=lambda *counts: told.append(counts)))
    assert told == [(3, 6), (6, 6)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError], ids=["torch's error", "any that says so"])
@pytest.mark.parametrize("fits", [1, 3], ids=["one window fits", "three fit"])
def test_out_of_memory_the_batch_is_halved_and_nothing_is_lost(fits: int, error: type[RuntimeError]) -> None:
    image, network, inferer = _image(1, 1, 40, 30, 20), _Short(fits, error), WindowInferer(16, 8, 0.5)
    logits = _joined(list(inferer.slabs(image, network)))
    size = {1: 1, 3: 2}[fits]
    assert set(network.batches[:-1]) == {size}
    assert network.notes == [f"out of GPU memory: {size} window{'s' if size > 1 else ''} at a time"]
    _same(logits, inferer(image, _Network(3))[0])
    assert inferer.sw_batch_size == 8


def test_a_second_image_says_no_second_time_that_memory_is_short() -> None:
    image, network, inferer = _image(1, 1, 40, 20, 20), _Short(3), WindowInferer(16, 8, 0.5)
    for _ in range(2):
        list(inferer.slabs(image, network))
    assert len(network.notes) == 1


def test_where_not_even_one_window_fits_the_network_goes_on_on_the_cpu() -> None:
    image, network, inferer = _image(1, 1, 40, 20, 20), _ShortThatFalls(0), WindowInferer(16, 4, 0.5)
    logits = _joined(list(inferer.slabs(image, network)))
    assert network.falls == 1
    _same(logits, inferer(image, _Network(3))[0])


def test_memory_that_runs_out_midway_counts_no_window_twice() -> None:
    class Midway(_ShortThatFalls):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            if len(self.batches) == 3 and self.falls == 0:
                self.fits = 0
            return super().forward(batch)

    image, network, inferer = _image(1, 1, 40, 30, 20), Midway(100), WindowInferer(16, 4, 0.5)
    logits = _joined(list(inferer.slabs(image, network)))
    assert network.falls == 1
    _same(logits, inferer(image, _Network(3))[0])


def test_memory_short_for_good_and_other_errors_are_passed_on() -> None:
    image, inferer = _image(1, 1, 20, 20, 20), WindowInferer(16, 4)
    with pytest.raises(torch.OutOfMemoryError):
        list(inferer.slabs(image, _Short(0)))

    def broken(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("sizes don't match")

    with pytest.raises(RuntimeError, match="sizes don't match"):
        list(inferer.slabs(image, broken))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_answers_are_summed_in_float32(dtype: torch.dtype) -> None:
    image, network, inferer = _image(1, 1, 30, 20, 20), _Network(3), WindowInferer(16, 2, 0.5)
    logits = inferer(image, lambda batch: torch.ones_like(network(batch), dtype=dtype) * 1.5)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, torch.full_like(logits, 1.5), rtol=1e-6, atol=0)


def test_other_memory_formats_are_put_in_their_places() -> None:
    image, network, inferer = _image(1, 1, 30, 20, 20), _Network(3, classes=3), WindowInferer(16, 2, 0.5)
    logits = inferer(image, lambda batch: network(batch).contiguous(memory_format=torch.channels_last_3d))
    assert torch.equal(logits, inferer(image, network))


def test_an_image_of_monai_keeps_what_is_said_of_it_and_other_arguments_reach_the_network() -> None:
    image = MetaTensor(_image(2, 1, 20, 20), affine=np.diag([2.0, 3, 1, 1]), meta={"spoken": "of"})
    network = _Network(2)

    def scaled(batch: torch.Tensor, factor: float, *, shift: float) -> torch.Tensor:
        assert not isinstance(batch, MetaTensor)
        return network(batch) * factor + shift

    logits = WindowInferer(16, 2, 0.5)(image, scaled, 2.0, shift=1.0)
    stock = SlidingWindowInferer(16, 2, 0.5, mode="gaussian")(image, scaled, 2.0, shift=1.0)
    assert isinstance(logits, MetaTensor)
    assert logits.meta.keys() == stock.meta.keys()
    assert torch.equal(logits.affine, stock.affine)
    torch.testing.assert_close(logits.as_tensor(), stock.as_tensor().detach())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda batch: (batch, batch), "a tuple"),
        (lambda batch: batch[..., ::2], "each voxel"),
        (lambda batch: batch.sum((2, 3, 4)), "each voxel"),
    ],
    ids=["two heads", "coarser", "no space"],
)
def test_an_answer_that_is_no_logits_is_refused(answer: Callable[[torch.Tensor], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        WindowInferer(8)(_image(1, 1, 8, 8, 8), answer)


def test_threads_can_share_an_inferer_and_a_call_leaves_no_trace() -> None:
    inferer, network = WindowInferer((16, 16), 3, 0.5, slice_axis=1), _Network(2)
    images = [_image(1, 1, 20 + index, 12, 24) for index in range(6)]
    before = dict(vars(inferer))
    alone = [inferer(image, network) for image in images]
    together: dict[int, torch.Tensor] = {}
    threads = [
        threading.Thread(target=lambda n=index, image=image: together.update({n: inferer(image, network)}))  # type: ignore[misc]
        for index, image in enumerate(images)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(together[index], expected) for index, expected in enumerate(alone))
    assert vars(inferer) == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_slabs_lie_on_the_device_that_the_network_answers_on() -> None:
    network, image, inferer = _Network(3), _image(1, 1, 40, 20, 20), WindowInferer(16, 3, 0.5)
    slabs = list(inferer.slabs(image.cuda(), lambda batch: network(batch.cpu())))
    assert all(slab.logits.device.type == "cpu" for slab in slabs)
    slabs = list(inferer.slabs(image, lambda batch: network(batch).cuda()))
    assert all(slab.logits.device.type == "cuda" for slab in slabs)
    torch.testing.assert_close(_joined(slabs).cpu(), inferer(image, network)[0])
