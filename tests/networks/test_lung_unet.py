import pytest
import torch

from radseg.networks.lung_unet import LungUNet


@pytest.mark.parametrize(("features", "count"), [(16, 2_159_889), (64, 34_518_081)])
def test_parameter_counts_are_those_of_keras(features, count):
    with torch.device("meta"):
        net = LungUNet(features=features)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_the_default_is_sixteen_features_with_batch_norm():
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in LungUNet().parameters()) == 2_159_889


def test_upsampled_features_reach_the_concatenation_with_their_sign():
    """The transposed convolution has no ReLU of its own here."""
    net = LungUNet(features=4).eval()
    merged = []
    net.decoder[-1].register_forward_pre_hook(lambda _, inputs: merged.append(inputs[0]))
    with torch.no_grad():
        net(torch.randn(1, 1, 32, 32))
    up, skip = merged[0].chunk(2, dim=1)
    assert up.min() < 0
    assert skip.min() >= 0


def test_state_dict_keys_say_where_a_weight_belongs():
    assert {
        "encoder.0.conv1.conv.weight",
        "encoder.3.conv2.bn.running_var",
        "bottleneck.conv1.bn.weight",
        "up.0.bias",
        "decoder.3.conv2.conv.weight",
        "output.weight",
    } <= LungUNet(features=4).state_dict().keys()
