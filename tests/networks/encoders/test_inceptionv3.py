import pytest
import torch
from torch import Tensor, nn

from radseg.networks.encoders.inceptionv3 import InceptionV3, Mixed, mean_3x3
from radseg.networks.encoders.shift_batch_norm import ShiftBatchNorm2d


@pytest.fixture(scope="module")
def net() -> InceptionV3:
    torch.manual_seed(0)
    return InceptionV3().eval()


def test_counts_are_those_of_keras_less_the_decoder(decoder_counts):
    with torch.device("meta"):
        net = InceptionV3()
    trainable = sum(parameter.numel() for parameter in net.parameters())
    running = sum(b.numel() for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var")))
    of_decoder, trainable_of_decoder = decoder_counts(net.channels)
    assert trainable + running == 29_933_105 - of_decoder == 21_802_784
    assert trainable == 29_896_689 - trainable_of_decoder == 21_768_352


def test_five_maps_halve_the_size_each_time(net):
    with torch.no_grad():
        features = net(torch.randn(2, 3, 64, 96))
    assert InceptionV3.channels == (64, 192, 288, 768, 2048)
    assert [tuple(f.shape) for f in features] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(InceptionV3.channels, (2, 4, 8, 16, 32), strict=True)
    ]


def test_an_odd_size_is_rounded_up_at_every_scale(net):
    with torch.no_grad():
        features = net(torch.randn(1, 3, 37, 50))
    assert [tuple(f.shape[2:]) for f in features] == [(19, 25), (10, 13), (5, 7), (3, 4), (2, 2)]


def test_features_are_the_last_of_each_scale(net):
    taps = [net.conv3, net.conv5, net.mixed2, net.mixed7, net.mixed10]
    seen: list[Tensor] = []
    hooks = [tap.register_forward_hook(lambda _module, _inputs, output: seen.append(output)) for tap in taps]
    with torch.no_grad():
        features = net(torch.randn(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert all(feature is output for feature, output in zip(features, seen, strict=True))


def test_convolutions_come_in_the_order_in_which_keras_numbers_them(net):
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(convolutions) == len(norms) == 94
    assert [c.out_channels for c in convolutions] == [n.num_features for n in norms]
    # conv2d_1 to conv2d_5, mixed0, mixed3, mixed4 and mixed10 of the published weights.
    assert [c.out_channels for c in convolutions[:5]] == [32, 32, 64, 80, 192]
    assert [c.out_channels for c in convolutions[5:12]] == [64, 48, 64, 64, 96, 96, 32]
    assert [c.out_channels for c in convolutions[26:30]] == [384, 64, 96, 96]
    assert [c.kernel_size for c in convolutions[30:40]] == [
        *[(1, 1), (1, 1), (1, 7), (7, 1)],
        *[(1, 1), (7, 1), (1, 7), (7, 1), (1, 7), (1, 1)],
    ]
    assert [c.kernel_size for c in convolutions[85:]] == [
        *[(1, 1), (1, 1), (1, 3), (3, 1)],
        *[(1, 1), (3, 3), (1, 3), (3, 1), (1, 1)],
    ]


def test_branches_are_concatenated_in_the_order_given():
    block = Mixed(first=nn.Identity(), second=nn.MaxPool2d(1), third=nn.ReLU())
    x = -torch.ones(1, 2, 3, 3)
    assert torch.equal(block(x), torch.cat([x, x, 0 * x], dim=1))


def test_the_mean_at_an_edge_is_that_of_the_pixels_there_are():
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    mean = mean_3x3()(x)
    assert mean.shape == x.shape
    assert mean[0, 0, 0, 0] == x[0, 0, :2, :2].mean()
    assert mean[0, 0, 1, 2] == x[0, 0, :, 1:].mean()


def test_batch_norms_have_a_shift_and_no_scale(net):
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.weight is None and norm.bias is not None for norm in norms)
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_batch_norm_without_scale_normalises_and_shifts():
    norm = ShiftBatchNorm2d(2, eps=1e-3, momentum=0.01)
    nn.init.constant_(norm.bias, 3.0)
    y = norm(10 * torch.randn(8, 2, 16, 16) + 4)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.full((2,), 3.0))
    torch.testing.assert_close(y.std((0, 2, 3)), torch.ones(2), rtol=1e-2, atol=0)
    norm.reset_parameters()
    assert not norm.bias.any()
    assert not norm.running_mean.any()


def test_conversion_for_several_gpus_keeps_the_shift():
    norm = ShiftBatchNorm2d(2, eps=1e-3, momentum=0.01)
    nn.init.constant_(norm.bias, 3.0)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(norm)
    assert isinstance(converted, nn.SyncBatchNorm)
    assert converted.weight is None
    assert converted.bias.tolist() == [3.0, 3.0]


def test_gradients_reach_every_parameter():
    net = InceptionV3()
    sum(feature.square().mean() for feature in net(torch.randn(2, 3, 64, 64))).backward()
    assert {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()} == set()


def test_one_channel_images_are_taken():
    with torch.device("meta"):
        assert InceptionV3(in_channels=1).conv1.conv.weight.shape == (32, 1, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"padding": "torch"}, "no torchvision weights fit"),
        ({"padding": "valid"}, "padding must be 'keras', got 'valid'"),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        InceptionV3(**arguments)


def test_state_dict_keys_say_where_a_weight_belongs(net):
    assert {
        "conv1.conv.weight",
        "mixed0.branch5x5.1.conv.weight",
        "mixed3.branch3x3.bn.running_mean",
        "mixed4.branch7x7dbl.4.bn.bias",
        "mixed9.branch3x3dbl.2.column.conv.weight",
        "mixed10.branch_pool.1.bn.running_var",
    } <= net.state_dict().keys()
