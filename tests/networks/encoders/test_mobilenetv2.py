import pytest
import torch
from torch import Tensor, nn

from radseg.networks.encoders.mobilenetv2 import InvertedResidual, MobileNetV2
from radseg.networks.encoders.same_padding import Convention

KERAS = Convention("keras", 1e-3, 0.001)


def test_counts_are_those_of_keras_less_the_decoder(decoder_counts):
    with torch.device("meta"):
        net = MobileNetV2()
    trainable = sum(parameter.numel() for parameter in net.parameters())
    running = sum(b.numel() for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var")))
    of_decoder, trainable_of_decoder = decoder_counts(net.channels)
    assert trainable + running == 8_047_441 - of_decoder == 2_257_984
    assert trainable == 8_011_345 - trainable_of_decoder == 2_223_872


def test_five_maps_halve_the_size_each_time():
    with torch.no_grad():
        features = MobileNetV2().eval()(torch.randn(2, 3, 64, 96))
    assert MobileNetV2.channels == (96, 144, 192, 576, 1280)
    assert [tuple(f.shape) for f in features] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(MobileNetV2.channels, (2, 4, 8, 16, 32), strict=True)
    ]


def test_an_odd_size_is_rounded_up_at_every_scale():
    with torch.no_grad():
        features = MobileNetV2().eval()(torch.randn(1, 3, 37, 50))
    assert [tuple(f.shape[2:]) for f in features] == [(19, 25), (10, 13), (5, 7), (3, 4), (2, 2)]


def test_features_are_the_expanded_activations_before_each_stride(alive):
    x = torch.randn(2, 3, 64, 64)
    net = alive(MobileNetV2(), x)
    seen: dict[int, Tensor] = {}
    for number in (1, 3, 6, 13):
        net.blocks[number].expand.register_forward_hook(
            lambda _module, _inputs, output, number=number: seen.update({number: output})
        )
    with torch.no_grad():
        features = net(x)
    for feature, number in zip(features, (1, 3, 6, 13), strict=False):
        assert torch.equal(feature, seen[number].clamp(0, 6))
        assert net.blocks[number].stride == 2
    assert features[-1].min() == 0
    assert features[-1].max() <= 6


def test_a_block_adds_its_input_where_the_shape_stays():
    x = torch.randn(2, 8, 6, 6)
    for arguments, residual in [((8, 8, 6, 1), True), ((8, 16, 6, 1), False), ((8, 8, 6, 2), False)]:
        block = InvertedResidual(*arguments, KERAS).eval()
        nn.init.zeros_(block.project.conv.weight)
        with torch.no_grad():
            _, y = block(x)
        assert torch.equal(y, x if residual else torch.zeros_like(y))


def test_gradients_reach_every_parameter():
    net = MobileNetV2()
    sum(feature.square().mean() for feature in net(torch.randn(2, 3, 64, 64))).backward()
    assert {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()} == set()


def test_torch_padding_changes_only_padding_and_batch_norm():
    with torch.device("meta"):
        keras, torch_like = MobileNetV2(), MobileNetV2(padding="torch")
    assert {n: v.shape for n, v in keras.state_dict().items()} == {
        n: v.shape for n, v in torch_like.state_dict().items()
    }
    for ours, theirs in zip(keras.modules(), torch_like.modules(), strict=True):
        if isinstance(ours, nn.BatchNorm2d):
            assert (ours.eps, ours.momentum) == (1e-3, 0.001)
            assert (theirs.eps, theirs.momentum) == (1e-5, 0.1)
        if isinstance(ours, nn.Conv2d):
            assert (ours.stride, ours.kernel_size, ours.groups) == (theirs.stride, theirs.kernel_size, theirs.groups)
            assert theirs.padding == tuple(size // 2 for size in theirs.kernel_size)
            assert ours.pads_itself == (ours.stride == (2, 2))


def test_both_paddings_agree_where_same_is_symmetric(alive):
    odd, even = torch.randn(2, 3, 65, 33), torch.randn(2, 3, 64, 32)  # 65 → 33 → 17 → 9 → 5 → 3
    keras, torch_like = alive(MobileNetV2(), odd), MobileNetV2(padding="torch").eval()
    torch_like.load_state_dict(keras.state_dict())
    for module in torch_like.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    with torch.no_grad():
        for ours, theirs in zip(keras(odd), torch_like(odd), strict=True):
            torch.testing.assert_close(ours, theirs)
        for ours, theirs in zip(keras(even), torch_like(even), strict=True):
            assert not torch.allclose(ours, theirs, atol=0.01)


def test_one_channel_images_are_taken():
    with torch.no_grad():
        assert len(MobileNetV2(in_channels=1).eval()(torch.zeros(1, 1, 32, 32))) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"padding": "same"}, "padding must be 'keras' or 'torch', got 'same'"),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV2(**arguments)


def test_state_dict_keys_say_where_a_weight_belongs():
    with torch.device("meta"):
        keys = list(MobileNetV2().state_dict())
    assert {
        "stem.conv.weight",
        "blocks.0.depthwise.conv.weight",
        "blocks.1.expand.bn.running_var",
        "blocks.16.project.bn.weight",
        "top.bn.bias",
    } <= set(keys)
    assert "blocks.0.expand.conv.weight" not in keys


def test_the_graph_has_no_breaks_to_compile_around():
    net, x = MobileNetV2().eval(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), net(x))
