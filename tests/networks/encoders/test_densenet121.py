import pytest
import torch
from monai.networks.nets import DenseNet121 as MonaiDenseNet121
from torch import nn
from torch.nn import functional as F

from radseg.networks.encoders import DenseNet121


def test_the_bottom_is_that_of_the_whole_network():
    encoder = DenseNet121(padding="torch").eval()
    whole = MonaiDenseNet121(spatial_dims=2, in_channels=3, out_channels=1).features.eval()
    whole.load_state_dict(encoder.features.state_dict())
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x)[-1], F.relu(whole(x)))


def test_the_taps_are_the_first_activation_and_the_transitions_before_their_pools():
    encoder = DenseNet121().eval()
    convolved, pooled = [], []
    for level in (1, 2, 3):
        conv = encoder.features.get_submodule(f"transition{level}.conv")
        conv.register_forward_hook(lambda _, __, output: convolved.append(output))
        block = encoder.features.get_submodule(f"denseblock{level + 1}")
        block.register_forward_pre_hook(lambda _, args: pooled.append(args[0]))
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        features = encoder(x)
        stem = encoder.features.norm0(encoder.features.conv0(x))
    torch.testing.assert_close(features[0], F.relu(stem))
    for tap, convolution, mean in zip(features[1:4], convolved, pooled, strict=True):
        assert tap is convolution
        torch.testing.assert_close(mean, tap.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)))


@pytest.mark.parametrize(("padding", "eps", "momentum"), [("keras", 1.001e-5, 0.01), ("torch", 1e-5, 0.1)])
def test_batch_norm_follows_the_library_that_trained_the_weights(padding, eps, momentum):
    with torch.device("meta"):
        norms = [m for m in DenseNet121(padding=padding).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 121
    assert {(m.eps, m.momentum) for m in norms} == {(eps, momentum)}


def test_nothing_of_the_classifier_is_kept():
    with torch.device("meta"):
        encoder = DenseNet121(in_channels=1)
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"features"}
    assert not any(isinstance(module, nn.Linear) for module in encoder.modules())


def test_state_dict_keys_say_where_a_weight_belongs():
    with torch.device("meta"):
        keys = DenseNet121().state_dict().keys()
    assert {
        "features.conv0.weight",
        "features.denseblock1.denselayer1.layers.norm1.weight",
        "features.denseblock4.denselayer16.layers.conv2.weight",
        "features.transition3.norm.running_mean",
        "features.norm5.bias",
    } < keys


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="padding must be 'keras' or 'torch', got 'same'"):
        DenseNet121(padding="same")
