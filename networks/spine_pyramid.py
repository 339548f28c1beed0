"""SpineFusionNet's modules over the feature pyramid: FFM, SEM, the way to one common scale, and ASPP.

The pyramid is the output of the contracting path's blocks 2 to 5, at 1/2, 1/4, 1/8 and 1/16 of the input size, always
as a list from fine to coarse. Shapes: b batch, c channels, s any number of spatial axes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.blocks import CONVOLUTION, ConvBNReLU, rescale

COMMON_LEVEL = 2  # index of 1/8, the only common scale from which the decoder's three doublings end at full size


class FusionLevel(nn.Module):
    """One level of `FeatureFusion`: its own 1×1 lateral and the convolution that fuses what it is given."""

    def __init__(self, spatial_dims: int, in_channels: int, channels: int, fused_levels: int) -> None:
        super().__init__()
        self.lateral = ConvBNReLU(spatial_dims, in_channels, channels, 1)
        self.fuse = ConvBNReLU(spatial_dims, fused_levels * channels, channels, 3 if spatial_dims == 2 else 1)


class FeatureFusion(nn.Module):
    """FFM: each level of the pyramid receives the other three, resized to it (Feature Fusion Module).

    Args:
        spatial_dims: 2 or 3; the fusing convolution has kernel size 3 in 2D and 1 in 3D.
        in_channels: Channels of the four levels, fine to coarse.
        channels: Channels of every level afterwards.
        exchange: False is the ablation: the levels keep to themselves, lateral and convolution stay.
    """

    def __init__(self, spatial_dims: int, in_channels: Sequence[int], channels: int, exchange: bool = True) -> None:
        super().__init__()
        fused_levels = 4 if exchange else 1
        self.exchange = exchange
        self.level2, self.level3, self.level4, self.level5 = (
            FusionLevel(spatial_dims, width, channels, fused_levels) for width in in_channels
        )

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Four levels of their own widths to four of `channels`, sizes unchanged."""
        levels = (self.level2, self.level3, self.level4, self.level5)
        laterals: list[Tensor] = [level.lateral(x) for level, x in zip(levels, pyramid, strict=True)]
        if not self.exchange:
            return [level.fuse(x) for level, x in zip(levels, laterals, strict=True)]
        return [
            level.fuse(torch.cat([rescale(x, source - target) for source, x in enumerate(laterals)], dim=1))
            for target, level in enumerate(levels)
        ]


class SqueezeExcitation(nn.Module):
    """Weights channels by what two linear layers make of their means (Hu et al., squeeze and excitation).

    Args:
        channels: Channels in and out.
        ratio: How many times narrower the layer between is.
    """

    def __init__(self, channels: int, ratio: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // ratio)
        self.excite = nn.Linear(channels // ratio, channels)

    def forward(self, x_bcs: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        mean_bc = x_bcs.flatten(2).mean(dim=2)
        weight_bc = torch.sigmoid(self.excite(F.relu(self.squeeze(mean_bc))))
        return x_bcs * weight_bc.reshape(*weight_bc.shape, *[1] * (x_bcs.ndim - 2))


class PyramidExcitation(nn.Module):
    """SEM: squeeze and excitation on every level of the pyramid, weights not shared."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.level2, self.level3, self.level4, self.level5 = (SqueezeExcitation(channels) for _ in range(4))

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Four levels to four of the same shapes."""
        levels = (self.level2, self.level3, self.level4, self.level5)
        return [level(x) for level, x in zip(levels, pyramid, strict=True)]


class CommonScale(nn.Module):
    """Brings every level to 1/8 of the input size and merges them into one feature map."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.level2, self.level3, self.level4, self.level5 = (
            ConvBNReLU(spatial_dims, channels, channels, 1) for _ in range(4)
        )
        self.merge = ConvBNReLU(spatial_dims, 4 * channels, channels, 1)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Four levels to (batch, channels, *1/8 of the input size)."""
        levels = (self.level2, self.level3, self.level4, self.level5)
        resized = [
            rescale(level(x), source - COMMON_LEVEL)
            for source, (level, x) in enumerate(zip(levels, pyramid, strict=True))
        ]
        merged: Tensor = self.merge(torch.cat(resized, dim=1))
        return merged


class AtrousPyramidPooling(nn.Module):
    """ASPP: the same features at several dilation rates and as image mean, merged (Atrous Spatial Pyramid Pooling).

    Args:
        spatial_dims: 2 (rates 6, 12, 18) or 3 (rates 2, 4, 6).
        channels: Channels in and out.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        rates = (6, 12, 18) if spatial_dims == 2 else (2, 4, 6)
        self.pointwise = ConvBNReLU(spatial_dims, channels, channels, 1)
        self.dilated = nn.ModuleDict(
            {f"rate{rate}": ConvBNReLU(spatial_dims, channels, channels, 3, dilation=rate) for rate in rates}
        )
        # No batch norm after pooling: a batch of one image has one value a channel there.
        self.image_mean = CONVOLUTION[spatial_dims](channels, channels, 1)
        self.merge = ConvBNReLU(spatial_dims, 5 * channels, channels, 1)

    def forward(self, x_bcs: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        spatial_axes = tuple(range(2, x_bcs.ndim))
        mean = F.relu(self.image_mean(x_bcs.mean(dim=spatial_axes, keepdim=True))).expand_as(x_bcs)
        branches = [self.pointwise(x_bcs), *(branch(x_bcs) for branch in self.dilated.values()), mean]
        merged: Tensor = self.merge(torch.cat(branches, dim=1))
        return merged
