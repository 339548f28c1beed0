import pytest
import torch

from radseg.networks.lung_fcnn import LungFCNN


def test_parameter_count_is_that_of_keras():
    with torch.device("meta"):
        net = LungFCNN()
    assert sum(parameter.numel() for parameter in net.parameters()) == 471_713


@pytest.mark.parametrize("block", ["block4", "block5"])
def test_a_relu_follows_each_transposed_convolution(block):
    net = LungFCNN(features=4).eval()
    inputs = []
    getattr(net, block).register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        net(torch.randn(1, 1, 16, 16))
    assert inputs[0].min() == 0
