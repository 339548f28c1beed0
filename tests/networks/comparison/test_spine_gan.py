import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import SimpleInferer
from torch import nn

from radseg.networks.comparison import SpineGANDiscriminator, SpineGANGenerator
from radseg.networks.comparison.spine_gan import LocalLSTM
from radseg.pipelines.engine import AutocastInferer
from radseg.pipelines.engine.runtime.conversion import convert
from radseg.pipelines.engine.runtime.quiet_openvino import openvino_core

NARROW = (4, 8, 16)


def count_parameters(build, *args) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(*args).parameters())


def cbr(kernel: int, before: int, after: int) -> int:
    return kernel * before * after + 2 * after


@pytest.fixture(scope="module")
def narrow_nets() -> dict[int, SpineGANGenerator]:
    torch.manual_seed(0)
    return {dims: SpineGANGenerator(dims, 1, 3, NARROW).eval() for dims in (2, 3)}


@pytest.mark.parametrize("dims", [2, 3])
def test_the_generator_has_the_layers_that_it_says(dims):
    seven, three = 7**dims, 3**dims
    encoder = cbr(seven, 1, 32) + cbr(seven, 32, 32) + cbr(three, 32, 64) + cbr(three, 64, 64)
    dilated = cbr(three, 64, 128) + 3 * cbr(three, 128, 128)
    lstm = 2 * 4 * 128 * (128 + 128 + 2) + cbr(three, 256, 128) + cbr(three, 128, 128)
    decoder = 2 * cbr(three, 128, 128) + cbr(1, 128, 64) + 64 * 3 + 3
    assert count_parameters(SpineGANGenerator, dims, 1, 3) == encoder + dilated + lstm + decoder


@pytest.mark.parametrize("dims", [2, 3])
def test_the_discriminator_has_the_layers_that_it_says(dims):
    seven = 7**dims
    convolutions = cbr(seven, 3, 32) + cbr(seven, 32, 64) + cbr(seven, 64, 128)
    assert count_parameters(SpineGANDiscriminator, dims, 3) == convolutions + 128 * 256 + 256 + 256 + 1


@settings(max_examples=10, deadline=None)
@given(size=st.lists(st.integers(1, 50), min_size=2, max_size=2))
def test_a_slice_of_any_size_comes_back_at_its_size(narrow_nets, size):
    with torch.no_grad():
        logits = narrow_nets[2](torch.randn(1, 1, *size))
    assert logits.shape == (1, 3, *size)
    assert logits.isfinite().all()


@settings(max_examples=5, deadline=None)
@given(size=st.lists(st.integers(1, 33), min_size=3, max_size=3))
def test_a_volume_of_any_size_comes_back_at_its_size(narrow_nets, size):
    with torch.no_grad():
        assert narrow_nets[3](torch.randn(1, 1, *size)).shape == (1, 3, *size)


def test_the_four_dilated_convolutions_reach_2_4_8_and_16():
    reaches = []
    for layer in SpineGANGenerator(2, 1, 3, NARROW).dilated:
        weight = torch.ones_like(layer.conv.weight)
        x = torch.zeros(1, weight.shape[1], 1, 65)
        x[..., 32] = 1
        seen = nn.functional.conv2d(x, weight, padding=layer.conv.padding, dilation=layer.conv.dilation)
        assert seen.shape[2:] == (1, 65)
        reaches.append(int(seen[0, 0, 0].nonzero().max()) - 32)
    assert reaches == [2, 4, 8, 16]


@pytest.mark.parametrize("size", [(12, 16), (8, 8, 12)])
def test_the_lstm_reads_cell_by_cell_along_the_last_axis_and_back(size):
    memory = LocalLSTM(len(size), 3)
    read = []
    memory.lstm.register_forward_hook(lambda _, inputs, outputs: read.append((inputs[0], outputs[0])))
    cells = torch.arange(torch.Size(s // 4 for s in size).numel()).reshape([s // 4 for s in size]).float()
    x = cells
    for axis in range(len(size)):
        x = x.repeat_interleave(4, dim=axis)
    memory(x.expand(1, 3, *size).requires_grad_())
    sequence, states = read[0]
    assert sequence[0, :, 0].tolist() == list(range(cells.numel()))
    middle = cells.numel() // 2
    for half, known in ((slice(0, 3), set(range(middle + 1))), (slice(3, 6), set(range(middle, cells.numel())))):
        (gradient,) = torch.autograd.grad(states[0, middle, half].sum(), sequence, retain_graph=True)
        assert set(gradient[0].abs().sum(1).nonzero().flatten().tolist()) == known


def test_what_the_lstm_read_at_one_end_reaches_the_other(alive):
    x = torch.randn(1, 1, 16, 256)  # wider than the convolutions see
    net = alive(SpineGANGenerator(2, 1, 1, NARROW), x)
    other = x.clone()
    other[..., -16:] += 5
    with torch.no_grad():
        assert not torch.equal(net(x)[..., :16], net(other)[..., :16])
        for parameter in net.local_lstm.up2.parameters():
            nn.init.zeros_(parameter)
        torch.testing.assert_close(net(x)[..., :16], net(other)[..., :16], rtol=0, atol=0)


def test_the_gates_of_the_lstm_start_open():
    lstm = LocalLSTM(2, 5).lstm
    for direction in ("", "_reverse"):
        assert lstm.get_parameter(f"bias_ih_l0{direction}")[5:10].tolist() == [1.0] * 5


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: SpineGANGenerator(2, 1, 3, NARROW), (1, 1, 32, 48)),
        (lambda: SpineGANGenerator(3, 1, 3, NARROW), (1, 1, 16, 32, 16)),
        (lambda: SpineGANDiscriminator(2, 1, NARROW), (1, 1, 64, 64)),
        (lambda: SpineGANDiscriminator(3, 1, NARROW), (1, 1, 32, 32, 32)),
    ],
)
@pytest.mark.parametrize("amp", [False, True])
def test_one_image_trains_every_parameter(build, shape, amp):
    net = build().train()
    AutocastInferer(SimpleInferer(), amp)(torch.randn(shape), net).square().mean().backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_a_few_steps_fit_an_image():
    net = SpineGANGenerator(2, 1, 1, NARROW)
    image = torch.randn(2, 1, 32, 32)
    target = torch.nn.functional.avg_pool2d(image, 5, 1, 2).gt(0).float()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    losses = []
    for _ in range(12):
        loss = nn.functional.binary_cross_entropy_with_logits(net(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("size", "cells"), [((64, 128), (1, 2)), ((65, 1), (2, 1)), ((192, 192), (3, 3)), ((32, 32, 65), (1, 1, 2))]
)
def test_every_64_pixels_a_side_get_a_verdict(size, cells):
    judge = SpineGANDiscriminator(len(size), 3, NARROW)
    assert judge(torch.rand(1, 3, *size)).shape == (1, 1, *cells)


def test_judging_leaves_the_discriminator_as_it_was():
    judge = SpineGANDiscriminator(2, 3, NARROW).train()
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    judge(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())
    assert before.keys() == dict(judge.named_parameters()).keys()


@pytest.mark.parametrize("build", [SpineGANGenerator, SpineGANDiscriminator])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 1}, r"spatial_dims must be 2 \(slices\) or 3 \(volumes\), got 1"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"features": (4, 8)}, "features must be 3 integers"),
    ],
)
def test_wrong_arguments_are_refused_when_built(build, arguments, message):
    channels = {"out_channels": 1} if build is SpineGANGenerator else {}
    with pytest.raises(ValueError, match=message):
        build(**{"spatial_dims": 2, "in_channels": 1, **channels, **arguments})


@pytest.mark.parametrize("build", [lambda: SpineGANGenerator(2, 1, 3, NARROW), lambda: SpineGANDiscriminator(2, 1)])
def test_an_image_of_another_shape_is_refused(build):
    with pytest.raises(ValueError, match=r"takes images of shape \(batch, 1, height, width\), got \(1, 2, 16, 16\)"):
        build()(torch.zeros(1, 2, 16, 16))


# torch.export, of the list in which nn.LSTM keeps its weights a second time, and of a part of torch itself
@pytest.mark.filterwarnings("ignore:The tensor attributes self.local_lstm.lstm._flat_weights:UserWarning")
@pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated:FutureWarning")
@pytest.mark.parametrize("shape", [(1, 1, 33, 41), (1, 1, 17, 16, 20)])
def test_the_exported_generator_and_its_openvino_model_give_the_same_logits(shape, alive):
    x = torch.randn(shape)
    net = alive(SpineGANGenerator(len(shape) - 2, 1, 3, NARROW), x)
    with torch.no_grad():
        logits = net(x)
        assert logits.std() > 0.05
        exported = torch.export.export(net, (x,)).module()
        torch.testing.assert_close(exported(x), logits, rtol=0, atol=1e-5)
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    result = openvino_core().compile_model(convert(net, shape), "CPU", hints)(x.numpy())[0]
    torch.testing.assert_close(torch.from_numpy(result), logits, rtol=0, atol=1e-3)
