import pytest
import torch
from torch.nn import functional as F

from radseg.networks.blocks import ConvBNReLU, DoubleConv, ResidualBlock, rescale


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 6), (7, 1)])
def test_a_convolution_block_keeps_the_image_size(spatial_dims, kernel_size, dilation):
    block = ConvBNReLU(spatial_dims, 2, 3, kernel_size, dilation=dilation)
    size = (5, 4, 6)[:spatial_dims]
    y = block(torch.randn(2, 2, *size))
    assert y.shape == (2, 3, *size)
    assert y.min() >= 0


def test_a_residual_block_without_weights_passes_its_positive_input_on():
    block = ResidualBlock(3, 4).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(1, 4, 3, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(block(x), F.relu(x))


def test_a_double_convolution_leaves_its_input_as_it_was():
    x = torch.randn(2, 3, 8, 8)
    before = x.clone()
    DoubleConv(2, 3, 3)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_rescaling_changes_every_axis_by_octaves(spatial_dims):
    x = torch.randn(1, 2, *(8,) * spatial_dims)
    assert rescale(x, 0) is x
    assert rescale(x, 2).shape[2:] == (32,) * spatial_dims
    assert rescale(x, -3).shape[2:] == (1,) * spatial_dims


def test_shrinking_averages_and_enlarging_keeps_the_mean():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(rescale(x, -2).flatten(), torch.tensor([7.5]))
    torch.testing.assert_close(rescale(x, 1).mean(), x.mean())
