"""Training in bfloat16 on a CPU computes some layers in other ways, with the results of torch's own."""

import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.inferers import SimpleInferer
from torch import nn
from torch.nn import functional as F

from radseg.networks import AttentionUNet, LungUNet
from radseg.pipelines.bundle_loader import load_workflow
from radseg.pipelines.engine import AutocastInferer
from radseg.pipelines.engine.fast_training import (
    FastTraining,
    average_pooling,
    dropout,
    enlargement,
    transposed_convolution,
)
from radseg.pipelines.engine.strided_pointwise import StridedPointwise

CL, CL_3D = torch.channels_last, torch.channels_last_3d


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    outer=st.integers(0, 2),
    size=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    with_bias=st.booleans(),
)
def test_a_transposed_convolution_by_phases_is_torch_s(kernel, stride, padding, outer, size, with_bias):
    assume(outer < stride and all((n - 1) * stride - 2 * padding + kernel + outer > 0 for n in size))
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, kernel, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64) if with_bias else None
    found = transposed_convolution(x, weight, bias, stride, padding, outer)
    wanted = torch.conv_transpose2d(x, weight, bias, stride, padding, outer)
    if found is None:  # torch's own is used
        return
    torch.testing.assert_close(found, wanted)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), (x, weight)),
        torch.autograd.grad(wanted.square().sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("kernel", "padding", "outer"), [(3, 0, 0), (3, 1, 1), (2, 0, 0)])
def test_the_networks_transposed_convolutions_are_by_phases_and_stay_channels_last(kernel, padding, outer):
    x = torch.randn(2, 8, 5, 6).to(memory_format=CL)
    found = transposed_convolution(x, torch.randn(8, 4, kernel, kernel), None, 2, padding, outer)
    assert found is not None
    assert found[:, :, 1:].stride(1) == 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, CL])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_scales_the_rest(layout, dtype):
    torch.manual_seed(0)
    x = torch.ones(3, 7, 65, 33, dtype=dtype).to(memory_format=layout)
    y = dropout(x, 0.2)
    assert y.is_contiguous(memory_format=layout)
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 1.25], dtype=dtype))
    assert abs((y == 0).float().mean() - 0.2) < 5 * (0.2 * 0.8 / x.numel()) ** 0.5  # standard errors
    torch.manual_seed(0)
    assert torch.equal(dropout(x, 0.2), y)


def test_dropped_values_get_no_gradient():
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    y = dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, torch.where(y == 0, 0.0, 2.0))


def test_dropout_is_left_to_torch_where_it_does_nothing_or_all():
    x = torch.randn(2, 4, 8, 8)
    assert dropout(x, 0.2, training=False) is None
    assert dropout(x, 0.0) is dropout(x, 1.0) is None


@pytest.mark.parametrize("side", [2, 4, 8])
@pytest.mark.parametrize("layout", [torch.contiguous_format, CL_3D])
def test_average_pooling_is_torch_s_to_bfloat16(side, layout):
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8, 16, 24).to(memory_format=layout).requires_grad_()
    found, wanted = average_pooling(x, side), F.avg_pool3d(x, side)
    assert found.dtype == torch.bfloat16
    assert (found - wanted).abs().max() < 2**-6
    towards = torch.randn_like(wanted).bfloat16()
    (one,), (other,) = (torch.autograd.grad((y * towards).sum(), x) for y in (found, wanted))
    assert (one - other).abs().max() <= 2**-7 * other.abs().max()


def test_other_pooling_is_left_to_torch():
    x = torch.randn(1, 1, 9, 9, 9)
    assert (
        average_pooling(x, 3)
        is average_pooling(x, 2)
        is average_pooling(x, 2, 1)
        is average_pooling(x, (2, 2, 2))
        is None
    )


def test_enlargement_is_torch_s_to_bfloat16_and_keeps_the_layout():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 5, 6, 7).to(memory_format=CL_3D)
    found = enlargement(x, scale_factor=2.0, mode="trilinear", align_corners=False)
    wanted = F.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)
    assert (found - wanted).abs().max() < 2**-6
    assert found.is_contiguous(memory_format=CL_3D)
    assert enlargement(x[0], scale_factor=2.0, mode="bilinear") is None


def test_layers_are_replaced_in_training_alone():
    net = nn.Sequential(nn.ConvTranspose2d(4, 4, 3, stride=2), nn.Dropout(0.5))
    seen = []

    class Seen(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    x = torch.randn(1, 4, 8, 8)
    for enabled, grad in ((True, True), (False, True), (True, False)):
        seen.clear()
        with Seen(), torch.set_grad_enabled(grad):
            AutocastInferer(SimpleInferer(), enabled)(x, net)
        assert (torch.conv_transpose2d not in seen) == (enabled and grad)
        assert (F.dropout not in seen) == (enabled and grad)


def _gradients(net, image, enabled):
    net.zero_grad()
    torch.manual_seed(0)
    output = AutocastInferer(SimpleInferer(), enabled)(image, net)
    output.square().mean().backward()
    return output.detach(), {name: value.grad.clone() for name, value in net.named_parameters() if value.ndim > 1}


@pytest.mark.parametrize("widths", [(4, 8), (8, 16, 32, 64)])
def test_channels_last_gradients_in_float32_are_those_of_torch_s_layout(widths):
    """Without `StridedPointwise` the gates' stride 2 over 4 or 8 channels ends the process."""
    torch.manual_seed(0)
    net = AttentionUNet(features=widths, dropout=0.0).double().float()
    # statistics of batch norm amplify the last digit of float32
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    image = torch.randn(2, 1, 64, 64)
    wanted_output, wanted = _gradients(net, image, False)
    output, found = _gradients(copy.deepcopy(net).to(memory_format=CL), image, False)
    torch.testing.assert_close(output, wanted_output, rtol=1e-4, atol=1e-5)
    for name, value in wanted.items():
        assert (found[name] - value).norm() <= 1e-4 * value.norm(), name


def test_a_strided_pointwise_convolution_is_left_alone_in_torch_s_layout():
    torch.manual_seed(0)
    x, conv = torch.randn(1, 16, 9, 9), nn.Conv2d(16, 4, 1, stride=2)
    with StridedPointwise():
        found = conv(x)
    assert torch.equal(found, conv(x))


@pytest.mark.parametrize(
    "network", [AttentionUNet(features=(8, 16, 32), dropout=0.0), LungUNet(features=8, dropout=0.0)]
)
def test_a_network_is_as_near_to_float32_as_bfloat16_is_without(network, monkeypatch):
    torch.manual_seed(0)
    net = network.eval()  # batch norm with fixed statistics
    image = torch.randn(2, 1, 64, 64)
    exact_output, exact = _gradients(net, image, False)
    output, found = _gradients(net, image, True)
    monkeypatch.setattr("radseg.pipelines.engine.fast_training._INSTEAD", {})
    plain_output, plain = _gradients(net, image, True)
    assert (output - exact_output).norm() <= 1.1 * (plain_output - exact_output).norm()
    for name, value in exact.items():
        assert (found[name] - value).norm() <= 1.1 * (plain[name] - value).norm() + 0.01 * value.norm(), name


@pytest.mark.parametrize("bundle", ["spine", "lung_ct", "lung_xray", "pelvis_xray"])
def test_amp_turns_on_channels_last_unless_told_otherwise(bundle, small):
    def layouts(**overrides):
        parser = load_workflow(bundle, "train", {**small[bundle], "device": "cpu", **overrides}).parser
        weights = [
            value for value in parser.get_parsed_content("network").parameters() if min(value.shape[1:], default=1) > 1
        ]
        return {value.is_contiguous() for value in weights if value.ndim > 3}

    assert layouts(amp=False) == layouts(amp=True, channels_last=False) == {True}
    assert layouts(amp=True) == {False}


def test_another_type_than_bfloat16_is_left_alone():
    x = torch.randn(1, 2, 4, 4, 4)
    with FastTraining(torch.float16):
        assert F.avg_pool3d(x, 2).dtype == torch.float32
