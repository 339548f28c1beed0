import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from radseg.networks import AttentionUNet
from radseg.networks.attention_unet import AttentionGate, DecoderLevel, EncoderLevel, SeparableBlock

NARROW = (4, 8, 16, 32)


@pytest.fixture(scope="module")
def narrow_net() -> AttentionUNet:
    torch.manual_seed(0)
    return AttentionUNet(features=NARROW).eval()


def test_parameter_counts_are_those_of_keras():
    with torch.device("meta"):
        net = AttentionUNet(in_channels=1, out_channels=1)
    trainable = sum(parameter.numel() for parameter in net.parameters())
    running = sum(b.numel() for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var")))
    assert trainable == 11_877_134
    assert trainable + running == 11_883_022


def test_without_attention_gates_only_their_parameters_are_gone():
    with torch.device("meta"):
        full, plain = AttentionUNet(), AttentionUNet(attention=False)
    gates = sum(3 * width * width + 3 * width + 1 for width in full.features)  # θ F→F, φ 2F→F, ψ F→1, with biases
    assert sum(one.numel() for one in plain.parameters()) == 11_877_134 - gates == 10_829_770
    left = {name: value.shape for name, value in full.state_dict().items() if ".gate." not in name}
    assert {name: value.shape for name, value in plain.state_dict().items()} == left


def test_without_attention_gates_the_skips_come_as_they_are(alive):
    torch.manual_seed(0)
    plain = alive(AttentionUNet(features=NARROW, dropout=0.0, attention=False), torch.randn(2, 1, 48, 48))
    gated = AttentionUNet(features=NARROW, dropout=0.0).eval()
    gated.load_state_dict(plain.state_dict(), strict=False)
    for level in gated.decoder.values():  # sigmoid(30) lets everything through
        nn.init.zeros_(level.gate.psi.weight)
        nn.init.constant_(level.gate.psi.bias, 30.0)
    x = torch.randn(1, 1, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(gated(x), plain(x))


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_slice_size_comes_back_at_its_size(narrow_net, height, width):
    with torch.no_grad():
        logits = narrow_net(torch.randn(1, 1, height, width))
    assert logits.shape == (1, 1, height, width)
    assert logits.isfinite().all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 17), (16, 16)])
def test_small_slices_come_back_at_their_size(narrow_net, size):
    with torch.no_grad():
        assert narrow_net(torch.ones(2, 1, *size)).shape == (2, 1, *size)


def test_an_odd_size_is_segmented_as_if_the_edge_went_on(alive):
    net = alive(AttentionUNet(features=NARROW, dropout=0.0), torch.randn(2, 1, 48, 48))
    x = torch.randn(1, 1, 27, 32)
    continued = torch.cat([x, x[:, :, -1:].expand(-1, -1, 5, -1)], dim=2)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(continued)[:, :, :27])


def test_channels_in_and_out_are_as_asked():
    with torch.no_grad():
        assert AttentionUNet(3, 2, features=NARROW).eval()(torch.zeros(1, 3, 20, 20)).shape == (1, 2, 20, 20)


def test_another_number_of_levels_and_other_widths_work():
    with torch.no_grad():
        assert AttentionUNet(features=[6, 10]).eval()(torch.zeros(1, 1, 21, 9)).shape == (1, 1, 21, 9)


def test_output_is_logits_not_probabilities(alive):
    x = torch.randn(2, 1, 32, 32)
    net = alive(AttentionUNet(features=NARROW), x)
    with torch.no_grad():
        nn.init.constant_(net.output.bias, -5.0)
        assert net(x).min() < -1


def test_strided_convolution_pads_at_the_bottom_and_right_as_keras_does():
    level = EncoderLevel(1, 2, dropout=0.0).eval()
    with torch.no_grad():
        level.down.bias.zero_()
        nn.init.dirac_(level.down.weight)
        level.down.weight.copy_(level.down.weight.roll((-1, -1), dims=(2, 3)))  # the tap at the kernel's first pixel
        skip, down = level(torch.randn(1, 1, 8, 6))
        torch.testing.assert_close(down, skip[:, :, ::2, ::2])
        level.down.weight.copy_(level.down.weight.roll((2, 2), dims=(2, 3)))  # the tap at its last pixel
        skip, down = level(torch.randn(1, 1, 8, 6))
    torch.testing.assert_close(down[:, :, :-1, :-1], skip[:, :, 2::2, 2::2])
    assert not down[:, :, -1].any()
    assert not down[:, :, :, -1].any()


def test_transposed_convolution_crops_at_the_bottom_and_right_as_keras_does():
    level = DecoderLevel(1, 2, dropout=0.0).eval()
    upsampled = []
    level.block.register_forward_pre_hook(lambda _, inputs: upsampled.append(inputs[0][:, :1]))
    coarse = torch.randn(1, 2, 4, 3)
    with torch.no_grad():
        level.up.bias.zero_()
        level.up.weight.zero_()
        level.up.weight[0, 0, 0, 0] = 1
        level(torch.zeros(1, 1, 8, 6), coarse)
    torch.testing.assert_close(upsampled[0][:, :, ::2, ::2], coarse[:, :1])
    assert upsampled[0].shape == (1, 1, 8, 6)
    assert not upsampled[0][:, :, 1::2].any()


def test_an_attention_gate_weighs_every_position_between_none_and_all():
    gate = AttentionGate(4, 8)
    skip, coarse = torch.ones(1, 4, 8, 8), torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        weight = gate(skip, coarse)
        assert ((weight > 0) & (weight < 1)).all()
        nn.init.constant_(gate.psi.bias, -1e4)
        assert not gate(skip, coarse).any()


def test_batch_norm_and_dropout_follow_keras():
    block = SeparableBlock(2, 4, 0.2)
    assert (block.bn.eps, block.bn.momentum) == (1e-3, 0.01)
    assert type(block.dropout) is nn.Dropout
    dropouts = [module.p for module in AttentionUNet(features=NARROW).modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [0.2] * 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"out_channels": 1.0}, "out_channels must be an integer"),
        ({"features": ()}, "features must be at least one integer"),
        ({"features": (4, -8)}, r"features\[1\] must be an integer of at least 1, got -8"),
        ({"features": "64"}, "features must be at least one integer"),
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1"),
        ({"dropout": "0.2"}, "dropout must be at least 0 and less than 1"),
        ({"attention": "false"}, "attention must be true or false"),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionUNet(**arguments)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 3, 16, 16), (1, 1, 16, 16, 16)])
def test_an_image_of_another_shape_is_refused_with_the_expected_one(narrow_net, shape):
    with pytest.raises(ValueError, match=r"AttentionUNet takes images of shape \(batch, 1, height, width\), got"):
        narrow_net(torch.zeros(shape))


def test_one_slice_of_32_a_side_trains_and_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = AttentionUNet(features=NARROW)
    net(torch.randn(1, 1, 32, 32)).sigmoid().mean().backward()
    # A bias before batch norm is subtracted again with the mean: its gradient is 0 by nature, up to rounding.
    dead = {
        name
        for name, p in net.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not (p.grad.any() or name.endswith("pointwise.bias"))
    }
    assert dead == set()


def test_one_training_slice_of_16_a_side_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="at least 2 images or more than 16 pixels"):
        AttentionUNet(features=NARROW)(torch.zeros(1, 1, 16, 16))


def test_the_same_seed_gives_the_same_weights():
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        states.append(AttentionUNet(features=NARROW).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["output.weight"], states[2]["output.weight"])


def test_state_dict_keys_say_where_a_weight_belongs(narrow_net):
    assert {
        "encoder.level1.block.depthwise.weight",
        "encoder.level4.down.bias",
        "bottleneck.pointwise.bias",
        "decoder.level4.gate.theta.weight",
        "decoder.level1.gate.psi.bias",
        "decoder.level2.up.weight",
        "decoder.level1.block.bn.running_var",
        "output.weight",
    } <= narrow_net.state_dict().keys()


def test_bfloat16_autocast_trains_with_a_finite_loss():
    net = AttentionUNet(features=NARROW)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net(torch.randn(1, 1, 32, 32)).float().square().mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_channels_last_gives_the_same_logits_and_stays_channels_last(alive):
    x = torch.randn(2, 2, 32, 48)
    net = alive(AttentionUNet(2, 2, features=NARROW), x)
    with torch.no_grad():
        contiguous = net(x)
        channels_last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert channels_last.is_contiguous(memory_format=torch.channels_last)
    # Rounding of other summation orders, which batch norms over a few values at 1/16 enlarge.
    torch.testing.assert_close(channels_last, contiguous, rtol=0, atol=2e-3)


def test_the_graph_has_no_breaks_to_compile_around(narrow_net):
    x = torch.randn(1, 1, 20, 32)
    with torch.no_grad():
        compiled = torch.compile(narrow_net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), narrow_net(x))


def test_a_gradient_hook_on_any_layer_works(alive):
    """Class activation maps hook layers by name; an activation changed in place would make torch refuse."""
    x = torch.randn(2, 1, 32, 32)
    net = alive(AttentionUNet(features=NARROW), x)
    x.requires_grad_()  # torch warns about a hook on a layer whose input has no gradient
    seen: list[str] = []
    for name, module in net.named_modules():
        if name and not isinstance(module, nn.ModuleDict | EncoderLevel):
            module.register_full_backward_hook(lambda *_, name=name: seen.append(name))
    net(x).sum().backward()
    assert {"bottleneck", "bottleneck.bn", "decoder.level1.block.bn", "decoder.level1.gate.psi"} <= set(seen)
