"""LungFCNN: lung fields in chest X-rays by a small fully convolutional network without skip connections."""

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.lung_blocks import Convolutions, Deconvolution, LungNetwork


class LungFCNN(LungNetwork):
    """The FCNN of the lung radiography paper (its Algorithm 5), five blocks of two convolutions.

    A pool follows the first two blocks, with dropout, and a transposed convolution with ReLU the next two; 1×1 at the
    end. An image of any size comes back at its size: it is padded with edge values at bottom and right to a multiple
    of 4 and cropped back. With batch norm, a training step on one image needs more than 4 pixels along one side.

    Args:
        in_channels: Channels of the image, 1 for X-rays.
        out_channels: Channels of the logits.
        features: Width of the finest level; 2 and 4 times as much at the coarser ones.
        dropout: Share of single values set to 0 in training; the paper gives no number, this one is the project's.
        batch_norm: Normalise after every 3×3 convolution.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride = 4

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
        self.block1 = Convolutions(in_channels, features, batch_norm)
        self.block2 = Convolutions(features, 2 * features, batch_norm)
        self.block3 = Convolutions(2 * features, 4 * features, batch_norm)
        self.up3 = Deconvolution(4 * features, 2 * features)
        self.block4 = Convolutions(2 * features, 2 * features, batch_norm)
        self.up4 = Deconvolution(2 * features, features)
        self.block5 = Convolutions(features, features, batch_norm)
        self.output = nn.Conv2d(features, out_channels, 1)

    def logits(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, h, w) to (batch, out_channels, h, w), h and w multiples of 4."""
        x = self.dropout(F.max_pool2d(self.block1(x_bchw), 2))
        x = self.dropout(F.max_pool2d(self.block2(x), 2))
        x = F.relu(self.up3(self.block3(x)))
        x = F.relu(self.up4(self.block4(x)))
        logits: Tensor = self.output(self.block5(x))
        return logits
