"""LungDeepLab: lung fields in chest X-rays by dilated convolutions at four rates side by side."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.lung_blocks import Convolutions, Deconvolution, LungNetwork

RATES = (1, 2, 4, 8)


class LungDeepLab(LungNetwork):
    """The DeepLab of the lung radiography paper (its Algorithm 4).

    Three blocks of 2, 2 and 3 convolutions, each with max-pool and dropout; four branches of two convolutions at
    dilation 1, 2, 4 and 8, concatenated (atrous spatial pyramid pooling); three transposed convolutions with ReLU;
    1×1. An image of any size comes back at its size: it is padded with edge values at bottom and right to a multiple
    of 8 and cropped back. With batch norm, a training step on one image needs more than 8 pixels along one side.

    Args:
        in_channels: Channels of the image, 1 for X-rays.
        out_channels: Channels of the logits.
        features: Width of the finest level; 2 and 4 times as much at the coarser ones.
        dropout: Share of single values set to 0 in training; the paper gives no number, this one is the project's.
        batch_norm: Normalise after every 3×3 convolution.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride = 8

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        features: int = 32,
        dropout: float = 0.05,
        batch_norm: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, features, dropout, batch_norm)
        width = 4 * features
        self.block1 = Convolutions(in_channels, features, batch_norm)
        self.block2 = Convolutions(features, 2 * features, batch_norm)
        self.block3 = Convolutions(2 * features, width, batch_norm, count=3)
        self.aspp = nn.ModuleDict(
            {f"rate{rate}": Convolutions(width, width, batch_norm, dilation=rate) for rate in RATES}
        )
        self.up3 = Deconvolution(len(RATES) * width, width)
        self.up2 = Deconvolution(width, 2 * features)
        self.up1 = Deconvolution(2 * features, features)
        self.output = nn.Conv2d(features, out_channels, 1)

    def logits(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, h, w) to (batch, out_channels, h, w), h and w multiples of 8."""
        x = x_bchw
        for block in (self.block1, self.block2, self.block3):
            x = self.dropout(F.max_pool2d(block(x), 2))
        x = torch.cat([branch(x) for branch in self.aspp.values()], dim=1)
        for up in (self.up3, self.up2, self.up1):
            x = F.relu(up(x))
        logits: Tensor = self.output(x)
        return logits
