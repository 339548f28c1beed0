import pytest
import torch
from torch import nn
from torch.nn import functional as F

from radseg.networks.spine_attention import (
    ChannelAttention,
    LocalPositionAttention,
    ResidualBorderRefinement,
    SelfAttention,
    SpatialAttention,
    patch_coordinates,
)


def test_coordinates_run_from_minus_one_to_one_over_the_patch():
    coordinates = patch_coordinates(torch.zeros(2, 7, 3, 5))
    assert coordinates.shape == (2, 2, 3, 5)
    torch.testing.assert_close(coordinates[1, 0, :, 2], torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(coordinates[0, 1, 1], torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))


def test_coordinates_have_the_device_type_and_axes_of_the_features():
    coordinates = patch_coordinates(torch.zeros(1, 4, 2, 3, 4, dtype=torch.bfloat16))
    assert coordinates.shape == (1, 3, 2, 3, 4)
    assert coordinates.dtype == torch.bfloat16


def test_local_position_attention_knows_where_it_is():
    features = torch.ones(1, 8, 9, 9)
    with torch.no_grad():
        refined = LocalPositionAttention(2, 8).eval()(features)
    assert not torch.allclose(refined[..., 3, 3], refined[..., 3, 5])  # same neighbours, another place


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 2)])
def test_self_attention_is_softmax_of_scaled_products_per_head(size):
    torch.manual_seed(0)
    attention = SelfAttention(len(size), 8, heads=4)
    x = torch.randn(2, 8, *size)
    with torch.no_grad():
        q, k, v = (
            conv(x).reshape(2, 4, 2, -1).transpose(2, 3) for conv in (attention.query, attention.key, attention.value)
        )
        weights = torch.softmax(q @ k.transpose(2, 3) / 2**0.5, dim=-1)
        expected = attention.output((weights @ v).transpose(2, 3).reshape(x.shape))
        torch.testing.assert_close(attention(x), expected)


def test_keys_of_a_large_image_are_averaged_until_few_enough(monkeypatch):
    tokens: list[tuple[int, int]] = []
    attend = F.scaled_dot_product_attention

    def counted(q, k, v):
        tokens.append((q.shape[2], k.shape[2]))
        return attend(q, k, v)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    with torch.no_grad():
        for size in [(64, 64), (64, 66), (17, 16, 16), (1, 5000)]:
            attention = SelfAttention(len(size), 8)
            assert attention(torch.randn(1, 8, *size)).shape == (1, 8, *size)
    assert tokens == [(4096, 4096), (4224, 32 * 33), (4352, 9 * 8 * 8), (5000, 2500)]


def test_averaging_before_the_key_convolution_equals_averaging_the_keys():
    attention = SelfAttention(2, 8, max_keys=16)
    x = torch.randn(1, 8, 7, 7)
    with torch.no_grad():
        pooled_first = attention.key(F.avg_pool2d(x, 2, ceil_mode=True))
        torch.testing.assert_close(pooled_first, F.avg_pool2d(attention.key(x), 2, ceil_mode=True))


def test_border_refinement_starts_without_its_attention():
    block = ResidualBorderRefinement(2, 8).eval()
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        before = block(x)
        nn.init.constant_(block.attention.output.bias, 100.0)
        torch.testing.assert_close(block(x), before)
        block.gate.fill_(1.0)
        assert not torch.allclose(block(x), before)


def test_channel_attention_scales_whole_channels():
    x = torch.rand(2, 16, 3, 4) + 1
    ratio = ChannelAttention(16)(x) / x
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))


def test_spatial_attention_scales_whole_positions():
    x = torch.rand(2, 4, 3, 4, 5) + 1
    ratio = SpatialAttention(3)(x) / x
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
