"""SpineFusionNet's attention blocks at 1/8 of the input size: RCBAM, RBRAB and LPRAB.

Each keeps the shape of its input. Shapes: b batch, c channels, s two or three spatial axes, h heads, n tokens (query
positions), m tokens that keys and values have after pooling, d channels of one head.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.blocks import AVERAGE_POOL, CONVOLUTION, ConvBNReLU, DoubleConv, ResidualBlock


class ChannelAttention(nn.Module):
    """CBAM's channel attention: one small network weighs channels by their mean and their maximum."""

    def __init__(self, channels: int, ratio: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // ratio)
        self.excite = nn.Linear(channels // ratio, channels)

    def forward(self, x_bcs: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        x_bcn = x_bcs.flatten(2)
        logits_bc = self._shared(x_bcn.mean(dim=2)) + self._shared(x_bcn.amax(dim=2))
        return x_bcs * torch.sigmoid(logits_bc).reshape(*logits_bc.shape, *[1] * (x_bcs.ndim - 2))

    def _shared(self, pooled_bc: Tensor) -> Tensor:
        logits_bc: Tensor = self.excite(F.relu(self.squeeze(pooled_bc)))
        return logits_bc


class SpatialAttention(nn.Module):
    """CBAM's spatial attention: a 7-convolution weighs positions by their mean and maximum over the channels."""

    def __init__(self, spatial_dims: int) -> None:
        super().__init__()
        self.conv = CONVOLUTION[spatial_dims](2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(pooled))


class ResidualConvolutionalAttention(nn.Module):
    """RCBAM: channel, then spatial attention, each beside a residual block on the same features."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(channels)
        self.channel_residual = ResidualBlock(spatial_dims, channels)
        self.spatial_attention = SpatialAttention(spatial_dims)
        self.spatial_residual = ResidualBlock(spatial_dims, 2 * channels)
        self.merge = ConvBNReLU(spatial_dims, 4 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        u = torch.cat([self.channel_attention(x), self.channel_residual(x)], dim=1)
        v = torch.cat([self.spatial_attention(u), self.spatial_residual(u)], dim=1)
        merged: Tensor = self.merge(v)
        return merged


class SelfAttention(nn.Module):
    """Every position looks at every other; of many positions the keys and values are averaged ×2 until few enough.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in and out, a multiple of `heads`.
        heads: Attention heads.
        max_keys: Most tokens that keys and values may have, which bounds memory and time on large images.
    """

    def __init__(self, spatial_dims: int, channels: int, heads: int = 4, max_keys: int = 4096) -> None:
        super().__init__()
        self.heads = heads
        self.max_keys = max_keys
        conv = CONVOLUTION[spatial_dims]
        self.query = conv(channels, channels, 1)
        self.key = conv(channels, channels, 1)
        self.value = conv(channels, channels, 1)
        self.output = conv(channels, channels, 1)

    def forward(self, x_bcs: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        source_bcs = x_bcs
        while math.prod(source_bcs.shape[2:]) > self.max_keys:
            # ceil_mode keeps an odd last row, and an axis of one pixel
            source_bcs = AVERAGE_POOL[x_bcs.ndim - 2](source_bcs, 2, ceil_mode=True)
        q_bhnd = self._split_heads(self.query(x_bcs))
        k_bhmd = self._split_heads(self.key(source_bcs))
        v_bhmd = self._split_heads(self.value(source_bcs))
        attended_bhnd = F.scaled_dot_product_attention(q_bhnd, k_bhmd, v_bhmd)
        attended_bcn = attended_bhnd.transpose(1, 2).flatten(2).transpose(1, 2)
        attended_bcs: Tensor = self.output(attended_bcn.reshape(x_bcs.shape))
        return attended_bcs

    def _split_heads(self, x_bcs: Tensor) -> Tensor:
        batch, channels = x_bcs.shape[:2]
        return x_bcs.reshape(batch, self.heads, channels // self.heads, -1).transpose(2, 3)


class ResidualBorderRefinement(nn.Module):
    """RBRAB: two cbr 3, self-attention added through a gate that starts closed, merged with the input."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.refine = DoubleConv(spatial_dims, channels, channels)
        self.attention = SelfAttention(spatial_dims, channels)
        self.gate = nn.Parameter(torch.zeros(1))
        self.merge = ConvBNReLU(spatial_dims, 2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        y = self.refine(x)
        y = y + self.gate * self.attention(y)
        merged: Tensor = self.merge(torch.cat([y, x], dim=1))
        return merged


def patch_coordinates(x: Tensor) -> Tensor:
    """Position of every pixel along each spatial axis, from −1 at the first to 1 at the last.

    Args:
        x: Features of shape (batch, channels, *size), for their size, device and type.

    Returns:
        Tensor of shape (batch, spatial axes, *size), the axes in the order of the shape.
    """
    axes = [torch.linspace(-1.0, 1.0, size, device=x.device, dtype=x.dtype) for size in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return grid.unsqueeze(0).expand(x.shape[0], *grid.shape)


class LocalPositionAttention(nn.Module):
    """LPRAB: a mask from features and their coordinates weighs the features, then a residual block."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.position = ConvBNReLU(spatial_dims, channels + spatial_dims, channels, 3)
        self.mask = CONVOLUTION[spatial_dims](channels, channels, 1)
        self.residual = ResidualBlock(spatial_dims, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        mask = torch.sigmoid(self.mask(self.position(torch.cat([x, patch_coordinates(x)], dim=1))))
        refined: Tensor = self.residual(x * mask)
        return refined
