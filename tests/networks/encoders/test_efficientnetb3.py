import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.encoders.efficientnetb3 import EfficientNetB3, MBConv, SqueezeExcite
from radseg.networks.encoders.same_padding import Convention

KERAS = Convention("keras", 1e-3, 0.01)


def test_counts_are_those_of_keras_less_the_decoder(decoder_counts):
    with torch.device("meta"):
        net = EfficientNetB3()
    trainable = sum(parameter.numel() for parameter in net.parameters())
    running = sum(b.numel() for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var")))
    of_decoder, trainable_of_decoder = decoder_counts(net.channels)
    assert trainable + running == 17_867_833 - of_decoder == 10_783_528
    assert trainable == 17_778_553 - trainable_of_decoder == 10_696_232


def test_five_maps_halve_the_size_each_time():
    with torch.no_grad():
        features = EfficientNetB3().eval()(torch.randn(2, 3, 64, 96))
    assert EfficientNetB3.channels == (144, 192, 288, 816, 1536)
    assert [tuple(f.shape) for f in features] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(EfficientNetB3.channels, (2, 4, 8, 16, 32), strict=True)
    ]


def test_an_odd_size_is_rounded_up_at_every_scale():
    with torch.no_grad():
        features = EfficientNetB3().eval()(torch.randn(1, 3, 37, 50))
    assert [tuple(f.shape[2:]) for f in features] == [(19, 25), (10, 13), (5, 7), (3, 4), (2, 2)]


def test_features_are_the_expanded_activations_before_each_stride(alive):
    x = torch.randn(2, 3, 64, 64)
    net = alive(EfficientNetB3(), x)
    first_of_stage = (2, 5, 8, 18)  # Keras' blocks 2a, 3a, 4a and 6a
    seen: dict[int, Tensor] = {}
    for number in first_of_stage:
        net.blocks[number].expand.register_forward_hook(
            lambda _module, _inputs, output, number=number: seen.update({number: output})
        )
    with torch.no_grad():
        features = net(x)
    for feature, number in zip(features, first_of_stage, strict=False):
        assert torch.equal(feature, F.silu(seen[number]))
        assert net.blocks[number].stride == 2


def test_blocks_have_the_kernels_of_the_paper():
    with torch.device("meta"):
        blocks = EfficientNetB3().blocks
    kernels = [block.depthwise.conv.kernel_size[0] for block in blocks]
    assert kernels == [3] * 2 + [3] * 3 + [5] * 3 + [3] * 5 + [5] * 5 + [5] * 6 + [3] * 2


def test_the_squeeze_is_a_quarter_of_a_blocks_input_not_of_its_width():
    with torch.device("meta"):
        blocks = EfficientNetB3().blocks
    assert [blocks[number].squeeze_excite.reduce.out_channels for number in (0, 1, 2, 18, 25)] == [10, 6, 6, 34, 96]


def test_excitation_weighs_channels_by_their_means():
    layer = SqueezeExcite(6, 2)
    x = torch.randn(2, 6, 4, 5)
    with torch.no_grad():
        weight = layer(x) / x
        torch.testing.assert_close(weight, weight[:, :, :1, :1].expand_as(x))
        shuffled = x.flatten(2)[:, :, torch.randperm(20)].reshape(x.shape)
        torch.testing.assert_close(layer(shuffled) / shuffled, weight)
    assert ((weight > 0) & (weight < 1)).all()


def test_drop_connect_grows_with_depth_as_in_the_reference():
    with torch.device("meta"):
        rates = [block.drop_rate for block in EfficientNetB3().blocks]
    assert rates == pytest.approx([0.2 * number / 16 for number in range(26)])


def test_training_drops_the_residual_of_whole_images_and_scales_the_others():
    block = MBConv(8, 8, 3, 6, 1, 0.25, KERAS).eval()
    x = torch.randn(64, 8, 5, 5)
    with torch.no_grad():
        residual = block(x)[1] - x
        block.training = True  # the batch norms stay in evaluation
        change = block(x)[1] - x
    dropped = change.flatten(1).abs().amax(1) == 0
    assert 0 < dropped.sum() < 32
    torch.testing.assert_close(change[~dropped], residual[~dropped] / 0.75, rtol=1e-4, atol=1e-5)


def test_evaluation_drops_nothing():
    block = MBConv(8, 8, 3, 6, 1, 0.9, KERAS).eval()
    x = torch.randn(16, 8, 5, 5)
    with torch.no_grad():
        assert torch.equal(block(x)[1], block(x)[1])
        assert (block(x)[1] != x).flatten(1).any(1).all()


def test_gradients_reach_every_parameter():
    net = EfficientNetB3()
    for block in net.blocks:
        block.drop_rate = 0.0  # with both images dropped, a block has no gradient
    sum(feature.square().mean() for feature in net(torch.randn(2, 3, 64, 64))).backward()
    assert {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()} == set()


def test_torch_padding_changes_only_padding_and_batch_norm():
    with torch.device("meta"):
        keras, torch_like = EfficientNetB3(), EfficientNetB3(padding="torch")
    assert {n: v.shape for n, v in keras.state_dict().items()} == {
        n: v.shape for n, v in torch_like.state_dict().items()
    }
    for ours, theirs in zip(keras.modules(), torch_like.modules(), strict=True):
        if isinstance(ours, nn.BatchNorm2d):
            assert (ours.eps, ours.momentum) == (1e-3, 0.01)
            assert (theirs.eps, theirs.momentum) == (1e-5, 0.1)
        if isinstance(ours, nn.Conv2d):
            assert (ours.stride, ours.kernel_size, ours.groups) == (theirs.stride, theirs.kernel_size, theirs.groups)
            assert theirs.padding == tuple(size // 2 for size in theirs.kernel_size)


def test_both_paddings_agree_where_same_is_symmetric(alive):
    odd, even = torch.randn(2, 3, 65, 33), torch.randn(2, 3, 64, 32)  # 65 → 33 → 17 → 9 → 5 → 3
    keras, torch_like = alive(EfficientNetB3(), odd), EfficientNetB3(padding="torch").eval()
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
        assert len(EfficientNetB3(in_channels=1).eval()(torch.zeros(1, 1, 32, 32))) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": True}, "in_channels must be an integer of at least 1, got True"),
        ({"padding": "valid"}, "padding must be 'keras' or 'torch', got 'valid'"),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetB3(**arguments)


def test_state_dict_keys_say_where_a_weight_belongs():
    with torch.device("meta"):
        keys = list(EfficientNetB3().state_dict())
    assert {
        "stem.conv.weight",
        "blocks.0.depthwise.conv.weight",
        "blocks.2.expand.bn.running_var",
        "blocks.18.squeeze_excite.reduce.bias",
        "blocks.25.project.bn.weight",
        "top.bn.bias",
    } <= set(keys)
    assert "blocks.1.expand.conv.weight" not in keys
