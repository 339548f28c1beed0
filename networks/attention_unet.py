"""AttentionUNet: COVID-19 lesions in CT slices by a U-Net of separable convolutions with attention gates.

The network is the Keras one of the paper to the parameter, "same" padding of strided convolutions included. Shapes:
b batch, c channels, h height, w width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import (
    channel_widths,
    check_batch_statistics,
    check_image,
    dropout_share,
    positive_integer,
    true_or_false,
)
from radseg.networks.padding import crop_to_size, pad_to_multiple


class SeparableBlock(nn.Module):
    """Depthwise 3×3, pointwise 1×1 with bias, batch norm, ReLU, dropout.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dropout: Share of single values set to 0 in training.
    """

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)  # Keras: epsilon 0.001, momentum 0.99
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, height, width) to (batch, out_channels, height, width)."""
        y: Tensor = self.dropout(F.relu(self.bn(self.pointwise(self.depthwise(x_bchw)))))
        return y


class AttentionGate(nn.Module):
    """Weighs a skip connection's positions by what the coarser decoder features say of them.

    θ, φ and ψ are the paper's names for the three 1×1 convolutions.
    """

    def __init__(self, skip_channels: int, coarse_channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(skip_channels, skip_channels, 1, stride=2)
        self.phi = nn.Conv2d(coarse_channels, skip_channels, 1)
        self.psi = nn.Conv2d(skip_channels, 1, 1)

    def forward(self, skip_bchw: Tensor, coarse: Tensor) -> Tensor:
        """Skip (batch, c, h, w) and coarser features (batch, c', h / 2, w / 2) to the weighted skip."""
        weight = torch.sigmoid(self.psi(F.relu(self.theta(skip_bchw) + self.phi(coarse))))
        return skip_bchw * F.interpolate(weight, scale_factor=2.0, mode="bilinear", align_corners=False)


class EncoderLevel(nn.Module):
    """A separable block, then a 3×3 convolution of stride 2 that keeps the channels."""

    def __init__(self, in_channels: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.block = SeparableBlock(in_channels, channels, dropout)
        self.down = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """Skip connection at the input's size and features at half of it."""
        skip = self.block(x_bchw)
        # Keras "same" with stride 2 on an even size adds its one row and column at the bottom and right.
        return skip, self.down(F.pad(skip, (0, 1, 0, 1)))


class DecoderLevel(nn.Module):
    """Transposed convolution ×2 beside the skip connection, gated unless told otherwise, then a separable block."""

    def __init__(self, channels: int, coarse_channels: int, dropout: float, attention: bool = True) -> None:
        super().__init__()
        self.gate = AttentionGate(channels, coarse_channels) if attention else None
        self.up = nn.ConvTranspose2d(coarse_channels, channels, 3, stride=2)
        self.block = SeparableBlock(2 * channels, channels, dropout)

    def forward(self, skip_bchw: Tensor, coarse: Tensor) -> Tensor:
        """Skip (batch, c, h, w) and coarser features (batch, c', h / 2, w / 2) to (batch, c, h, w)."""
        # Keras "same" crops the transposed convolution's 2n + 1 rows and columns at the bottom and right.
        up = self.up(coarse)[:, :, :-1, :-1]
        skip = skip_bchw if self.gate is None else self.gate(skip_bchw, coarse)
        merged: Tensor = self.block(torch.cat([up, skip], dim=1))
        return merged


class AttentionUNet(nn.Module):
    """The lesion network of the Attention U-Net with CLAHE paper, for 2D slices.

    A slice of any size comes back at its size: it is padded with edge values at bottom and right to a multiple of 16
    (2 to the number of levels) and cropped back. A training step on one slice needs more than 16 pixels along one side.

    Args:
        in_channels: Channels of the slice, 1 for CT.
        out_channels: Channels of the logits.
        features: Widths of the encoder's levels, finest first; the bottleneck has twice the last.
        dropout: Share of single values set to 0 in training, in every block.
        attention: Whether gates weigh the skip connections; without, they are the plain ones of a U-Net (the ablation
            that the paper leaves undone).

    Raises:
        ValueError: An argument has another type or range.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        features: Sequence[int] = (64, 128, 256, 512),
        dropout: float = 0.2,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = positive_integer("in_channels", in_channels)
        self.out_channels = positive_integer("out_channels", out_channels)
        self.features = channel_widths("features", features)
        dropout = dropout_share("dropout", dropout)
        attention = true_or_false("attention", attention)
        self.stride = 2 ** len(self.features)
        finer = (self.in_channels, *self.features[:-1])
        coarser = (*self.features[1:], 2 * self.features[-1])
        self.encoder = nn.ModuleDict()
        self.decoder = nn.ModuleDict()
        for number, (before, width, after) in enumerate(zip(finer, self.features, coarser, strict=True), start=1):
            self.encoder[f"level{number}"] = EncoderLevel(before, width, dropout)
            self.decoder[f"level{number}"] = DecoderLevel(width, after, dropout, attention)
        self.bottleneck = SeparableBlock(self.features[-1], coarser[-1], dropout)
        self.output = nn.Conv2d(self.features[0], self.out_channels, 1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Segment slices.

        Args:
            x_bchw: Slices of shape (batch, in_channels, height, width), any height and width.

        Returns:
            Logits of shape (batch, out_channels, height, width).

        Raises:
            ValueError: Another shape, or a training batch too small for batch norm.
        """
        check_image("AttentionUNet", x_bchw, 2, self.in_channels)
        x = pad_to_multiple(x_bchw, self.stride)
        if self.training:
            check_batch_statistics(x, self.stride)
        skips: list[Tensor] = []
        for level in self.encoder.values():
            skip, x = level(x)
            skips.append(skip)
        x = self.bottleneck(x)
        for level, skip in zip(reversed([*self.decoder.values()]), reversed(skips), strict=True):
            x = level(skip, x)
        logits: Tensor = self.output(x)
        return crop_to_size(logits, x_bchw.shape[2:])
