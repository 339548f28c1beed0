"""LungUNet: lung fields in chest X-rays by a U-Net with batch norm and dropout."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.lung_blocks import Convolutions, Deconvolution, LungNetwork

LEVELS = 4


class LungUNet(LungNetwork):
    """The U-Net of the lung radiography paper (its Algorithm 3).

    Four times two convolutions, max-pool and dropout; two convolutions at the bottom; four times transposed
    convolution, concatenation, dropout and two convolutions; 1×1. An image of any size comes back at its size: it is
    padded with edge values at bottom and right to a multiple of 16 and cropped back. With batch norm, a training step
    on one image needs more than 16 pixels along one side.

    Args:
        in_channels: Channels of the image, 1 for X-rays.
        out_channels: Channels of the logits.
        features: Width of the finest level; it doubles at each of the four coarser ones.
        dropout: Share of single values set to 0 in training; the paper gives no number, this one is the project's.
        batch_norm: Normalise after every 3×3 convolution.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride = 2**LEVELS

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        features: int = 16,
        dropout: float = 0.05,
        batch_norm: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, features, dropout, batch_norm)
        widths = [features * 2**level for level in range(LEVELS + 1)]
        finer = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(Convolutions(finer[level], widths[level], batch_norm) for level in range(LEVELS))
        self.bottleneck = Convolutions(widths[-2], widths[-1], batch_norm)
        coarse_to_fine = range(LEVELS - 1, -1, -1)
        self.up = nn.ModuleList(Deconvolution(widths[level + 1], widths[level]) for level in coarse_to_fine)
        self.decoder = nn.ModuleList(
            Convolutions(widths[level + 1], widths[level], batch_norm) for level in coarse_to_fine
        )
        self.output = nn.Conv2d(features, out_channels, 1)

    def logits(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, h, w) to (batch, out_channels, h, w), h and w multiples of 16."""
        x = x_bchw
        skips: list[Tensor] = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
            x = self.dropout(F.max_pool2d(x, 2))
        x = self.bottleneck(x)
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = level(self.dropout(torch.cat([up(x), skip], dim=1)))
        logits: Tensor = self.output(x)
        return logits
