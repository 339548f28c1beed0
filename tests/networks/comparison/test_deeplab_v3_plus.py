import pytest
import torch
from monai.networks.nets import resnet50
from torch import Tensor, nn

from radseg.networks.comparison import DeepLabV3Plus
from radseg.networks.comparison.deeplab_v3_plus import AtrousPyramidPooling, DilatedResNet50


def cbr(taps: int, before: int, width: int) -> int:
    return taps * before * width + 2 * width


def test_parameter_count_is_that_of_resnet50_and_the_papers_head():
    with torch.device("meta"):
        net = DeepLabV3Plus(2, 3, 21)
    assert sum(p.numel() for p in net.backbone.parameters()) == 23_508_032  # ResNet50 without its classifier
    aspp = cbr(1, 2048, 256) + 3 * cbr(9, 2048, 256) + (2048 + 1) * 256 + cbr(1, 5 * 256, 256)
    decoder = cbr(1, 256, 48) + cbr(9, 256 + 48, 256) + cbr(9, 256, 256) + (256 + 1) * 21
    assert sum(p.numel() for p in net.parameters()) == 23_508_032 + aspp + decoder


def test_parameter_count_in_3d_a_quarter_as_wide():
    with torch.device("meta"):
        net = DeepLabV3Plus(3, 1, 3, features=16)
    backbone, before = cbr(343, 1, 16), 16
    for width, units in ((16, 3), (32, 4), (64, 6), (128, 3)):
        backbone += cbr(1, before, 4 * width)  # the first unit's shortcut
        for _ in range(units):
            backbone += cbr(1, before, width) + cbr(27, width, width) + cbr(1, width, 4 * width)
            before = 4 * width
    assert sum(p.numel() for p in net.backbone.parameters()) == backbone
    aspp = cbr(1, 512, 64) + 3 * cbr(27, 512, 64) + (512 + 1) * 64 + cbr(1, 5 * 64, 64)
    decoder = cbr(1, 64, 12) + cbr(27, 64 + 12, 64) + cbr(27, 64, 64) + (64 + 1) * 3
    assert sum(p.numel() for p in net.parameters()) == backbone + aspp + decoder


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_at_every_second_position_the_dilated_backbone_is_the_strided_one(spatial_dims, alive):
    """Dilation for stride is the same network at more positions, so ResNet50's weights keep their meaning."""
    strided = resnet50(
        spatial_dims=spatial_dims,
        n_input_channels=1,
        conv1_t_stride=2,
        widen_factor=1 / 16,
        feed_forward=False,
        bias_downsample=False,
    )
    x = torch.randn(2, 1, *(64, 64, 32)[:spatial_dims])
    alive(strided, x)
    features: list[Tensor] = []
    strided.layer4.register_forward_hook(lambda _, __, output: features.append(output))
    dilated = DilatedResNet50(spatial_dims, 1, 4).eval()
    dilated.load_state_dict(strided.state_dict())
    with torch.no_grad():
        strided(x)
        fine, coarse = dilated(x)
    assert fine.shape == (2, 16, *(16, 16, 8)[:spatial_dims])
    assert coarse.shape == (2, 128, *(4, 4, 2)[:spatial_dims])
    assert features[0].std() > 0.05
    torch.testing.assert_close(coarse[(..., *[slice(None, None, 2)] * spatial_dims)], features[0])


@pytest.mark.parametrize(("spatial_dims", "rates"), [(2, (6, 12, 18)), (3, (2, 4, 6))])
def test_the_pyramid_has_the_papers_rates_in_2d_and_a_third_of_them_in_3d(spatial_dims, rates):
    branches = DeepLabV3Plus(spatial_dims, 1, 1, features=4).aspp.dilated
    assert {name: branch.conv.dilation for name, branch in branches.items()} == {
        f"rate{rate}": (rate,) * spatial_dims for rate in rates
    }


@pytest.mark.parametrize("rate", [2, 6])
def test_each_branch_sees_as_far_as_its_rate_says(rate):
    branch = AtrousPyramidPooling(2, 1, 1, (2, 6)).dilated[f"rate{rate}"].conv
    x = torch.zeros(1, 1, 41, 41)
    x[..., 20, 20] = 1
    with torch.no_grad():
        rows = branch(x)[0, 0].nonzero()[:, 0].unique()
    assert rows.tolist() == [20 - rate, 20, 20 + rate]


def test_the_image_mean_reaches_every_position_and_has_no_batch_norm():
    pooling = AtrousPyramidPooling(2, 2, 4, (2,))
    assert isinstance(pooling.image_mean, nn.Conv2d)
    merged: list[Tensor] = []
    pooling.merge.register_forward_pre_hook(lambda _, inputs: merged.append(inputs[0]))
    x = torch.randn(1, 2, 5, 6)
    with torch.no_grad():
        pooling(x)
        mean = pooling.image_mean(x.mean((2, 3), keepdim=True)).relu()
    torch.testing.assert_close(merged[0][:, -4:], mean.expand(-1, -1, 5, 6))


def test_the_decoder_sees_the_pyramid_beside_the_narrowed_features_at_a_quarter():
    net = DeepLabV3Plus(2, 1, 1, features=8).eval()
    given: list[Tensor] = []
    net.decoder1.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        net(torch.randn(1, 1, 64, 32))
    assert given[0].shape == (1, 32 + 6, 16, 8)


def test_one_training_image_of_16_a_side_is_refused_with_the_remedy():
    net = DeepLabV3Plus(3, 1, 1, features=4)
    with pytest.raises(ValueError, match="at least 2 images or more than 16 pixels"):
        net(torch.zeros(1, 1, 16, 9, 16))
