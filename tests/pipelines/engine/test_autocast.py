"""Training in bfloat16 has the gradients of training in float32, whatever the size of the maps."""

import pytest
import torch
from monai.inferers import SimpleInferer
from torch import nn

from radseg.pipelines.engine import AutocastInferer

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}


def weight_gradient(conv, image, enabled):
    """What the sum of the squares of `conv`'s output asks of its weights."""
    conv.zero_grad()
    AutocastInferer(SimpleInferer(), enabled)(image, conv).square().sum().backward()
    return conv.weight.grad.clone()


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 1, 1), (3, 2, 1), (1, 1, 1), (1, 2, 1), (3, 1, 16)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, "channels_last"])
def test_weight_gradients_are_those_of_float32(spatial_dims, side, kernel, stride, groups, layout):
    torch.manual_seed(0)
    if layout == "channels_last":
        layout = {2: torch.channels_last, 3: torch.channels_last_3d}[spatial_dims]
    conv = CONVOLUTION[spatial_dims](16, 16, kernel, stride, padding=kernel // 2, groups=groups)
    conv = conv.to(memory_format=layout)
    image = torch.randn(1, 16, *(side,) * spatial_dims).to(memory_format=layout)
    exact = weight_gradient(conv, image, enabled=False)
    for _ in range(3):  # what isn't written holds what was there before
        torch.full((conv.weight.numel(),), 1e30)
        assert (weight_gradient(conv, image, enabled=True) - exact).norm() < 0.02 * exact.norm()


def test_switched_off_it_computes_in_the_network_s_own_type():
    seen = []
    net = nn.Conv2d(1, 1, 3)
    net.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    AutocastInferer(SimpleInferer(), enabled=False)(torch.randn(1, 1, 8, 8), net)
    AutocastInferer(SimpleInferer(), enabled=True)(torch.randn(1, 1, 8, 8), net)
    assert seen == [torch.float32, torch.bfloat16]
