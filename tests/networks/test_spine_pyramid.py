import pytest
import torch

from radseg.networks.spine_pyramid import AtrousPyramidPooling, CommonScale, FeatureFusion, SqueezeExcitation


def pyramid(spatial_dims: int, widths: tuple[int, ...] = (8, 8, 8, 8)) -> list[torch.Tensor]:
    return [torch.randn(2, width, *(size,) * spatial_dims) for width, size in zip(widths, (16, 8, 4, 2), strict=True)]


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("exchange", [True, False])
def test_fusion_keeps_the_sizes_and_gives_every_level_the_same_width(spatial_dims, exchange):
    levels = pyramid(spatial_dims, (3, 5, 7, 9))
    fused = FeatureFusion(spatial_dims, (3, 5, 7, 9), 8, exchange=exchange)(levels)
    assert [tuple(x.shape) for x in fused] == [(2, 8, *x.shape[2:]) for x in levels]


@pytest.mark.parametrize(("exchange", "reached"), [(True, {0, 1, 2, 3}), (False, {2})])
def test_every_level_receives_from_all_levels_only_when_they_exchange(exchange, reached):
    levels = [x.requires_grad_() for x in pyramid(2)]
    fused = FeatureFusion(2, (8, 8, 8, 8), 8, exchange=exchange).eval()(levels)
    fused[2].sum().backward()
    assert {level for level, x in enumerate(levels) if x.grad is not None and x.grad.any()} == reached


def test_every_fine_pixel_has_a_say_in_the_common_scale():
    levels = [x.requires_grad_() for x in pyramid(2)]
    merge = CommonScale(2, 8).eval()
    for level in (merge.level2, merge.merge):  # keep the ReLUs open, they aren't what is looked at
        torch.nn.init.constant_(level.bn.bias, 10.0)
    common = merge(levels)
    assert common.shape == (2, 8, 4, 4)
    common.sum().backward()
    assert levels[0].grad.ne(0).any(dim=1).all()


def test_squeeze_excitation_scales_whole_channels():
    x = torch.rand(2, 16, 3, 4, 5) + 1
    ratio = SqueezeExcitation(16)(x) / x
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1, :1].expand_as(ratio))
    assert ((ratio > 0) & (ratio < 1)).all()


@pytest.mark.parametrize(
    ("spatial_dims", "rates"), [(2, ["rate6", "rate12", "rate18"]), (3, ["rate2", "rate4", "rate6"])]
)
def test_atrous_rates_fit_the_dimensions(spatial_dims, rates):
    aspp = AtrousPyramidPooling(spatial_dims, 8)
    assert list(aspp.dilated) == rates
    assert [f"rate{branch.conv.dilation[0]}" for branch in aspp.dilated.values()] == rates


def test_image_pooling_trains_on_a_batch_of_one():
    assert AtrousPyramidPooling(2, 8).train()(torch.randn(1, 8, 2, 2)).isfinite().all()
