import pytest
import torch
from torch import nn
from torch.nn import functional as F

from radseg.networks.comparison import SegNet
from radseg.networks.comparison.segnet import unpool

# VGG16's convolutions, input and output channels, and back.
ENCODER = [
    *[(3, 64), (64, 64)],
    *[(64, 128), (128, 128)],
    *[(128, 256), (256, 256), (256, 256)],
    *[(256, 512), (512, 512), (512, 512)],
    *[(512, 512), (512, 512), (512, 512)],
]
DECODER = [
    *[(512, 512), (512, 512), (512, 512)],
    *[(512, 512), (512, 512), (512, 256)],
    *[(256, 256), (256, 256), (256, 128)],
    *[(128, 128), (128, 64)],
    *[(64, 64)],
]


@pytest.mark.parametrize(("spatial_dims", "taps"), [(2, 9), (3, 27)])
def test_thirteen_convolutions_there_and_thirteen_back(spatial_dims, taps):
    with torch.device("meta"):
        net = SegNet(spatial_dims, 3, 21)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    assert len(convolutions) == 26
    normalised = sum(taps * before * width + 2 * width for before, width in ENCODER + DECODER)
    assert sum(p.numel() for p in net.parameters()) == normalised + taps * 64 * 21 + 21


def test_the_encoder_has_the_papers_fourteen_million_weights():
    with torch.device("meta"):
        net = SegNet(2, 3, 21)
    # Section 3: leaving out the fully connected layers takes the encoder from 134 M to 14.7 M.
    assert sum(p.numel() for p in net.encoder.parameters() if p.ndim == 4) == 14_710_464
    assert sum(p.numel() for p in net.parameters()) == 29_447_189


def test_the_decoder_mirrors_the_encoder():
    with torch.device("meta"):
        net = SegNet(2, 3, 21)
    there = [(m.in_channels, m.out_channels) for m in net.encoder.modules() if isinstance(m, nn.Conv2d)]
    blocks = reversed([*net.decoder.values()])
    back = [(m.in_channels, m.out_channels) for b in blocks for m in b.modules() if isinstance(m, nn.Conv2d)]
    assert there == ENCODER
    assert back == DECODER
    assert [(width, before) for before, width in reversed(there[1:])] == back


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unpooling_is_torchs(spatial_dims, dtype):
    pool, torch_unpool = {
        2: (F.max_pool2d_with_indices, F.max_unpool2d),
        3: (F.max_pool3d_with_indices, F.max_unpool3d),
    }[spatial_dims]
    pooled, positions = pool(torch.randn(2, 3, *(8, 6, 10)[:spatial_dims], dtype=dtype), 2)
    assert torch.equal(unpool(pooled, positions), torch_unpool(pooled, positions, 2))


def test_every_maximum_goes_back_where_it_was_and_all_else_is_zero():
    x = torch.randn(1, 2, 6, 4) + 10
    pooled, positions = F.max_pool2d_with_indices(x, 2)
    back = unpool(pooled, positions)
    assert torch.equal(back[back != 0], x[back != 0])
    assert (back != 0).sum() == pooled.numel()
    assert torch.equal(F.max_pool2d(back, 2), pooled)


def test_a_gradient_goes_back_to_the_maximum_it_came_from():
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    pooled, positions = F.max_pool2d_with_indices(x, 2)
    unpool(pooled, positions).sum().backward()
    assert torch.equal(x.grad.flatten().nonzero().flatten(), positions.flatten().sort().values)


def test_the_last_decoder_block_sees_values_only_where_the_first_encoder_block_had_its_maxima(alive):
    net = alive(SegNet(2, 1, 1, (4, 8, 8, 16, 16)), torch.randn(2, 1, 32, 32))
    given = []
    net.decoder["block1"].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        net(x)
        block = net.encoder["block1"](x)
        _, positions = F.max_pool2d_with_indices(block, 2)
    zero = torch.ones(block.shape).flatten(2).scatter(2, positions.flatten(2), 0.0).unflatten(2, (32, 32)).bool()
    assert not given[0][zero].any()
    assert given[0].any()


def test_one_training_image_of_one_pixel_is_enough():
    assert SegNet(2, 1, 1, (4, 8, 8, 16, 16))(torch.ones(1, 1, 1, 1)).isfinite().all()
