import pytest
import torch

from radseg.networks.lung_deeplab import LungDeepLab


def test_parameter_count_is_that_of_keras():
    with torch.device("meta"):
        net = LungDeepLab()
    assert sum(parameter.numel() for parameter in net.parameters()) == 2_298_529


@pytest.mark.parametrize(("branch", "reach"), [("rate1", 2), ("rate2", 4), ("rate4", 8), ("rate8", 16)])
def test_each_branch_sees_as_far_as_its_rate_says(branch, reach):
    net = LungDeepLab(features=1, batch_norm=False).aspp[branch]
    for parameter in net.parameters():
        torch.nn.init.ones_(parameter)
    x = torch.zeros(1, 4, 1, 41)
    x[..., 20] = 1
    with torch.no_grad():
        seen = (net(x) - net(torch.zeros_like(x)))[0, 0, 0].nonzero().flatten()
    assert (seen.min(), seen.max()) == (20 - reach, 20 + reach)


def test_the_four_branches_see_the_same_features_and_are_concatenated():
    net = LungDeepLab(features=4).eval()
    inputs = []
    net.up3.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        net(torch.randn(1, 1, 32, 40))
    assert inputs[0].shape == (1, 4 * 16, 4, 5)
