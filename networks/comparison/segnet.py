"""SegNet: an encoder after VGG16 whose max-pool positions tell its mirrored decoder where to put values back.

Badrinarayanan, Kendall and Cipolla, SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation,
arXiv 1511.00561, section 3. Shapes: b batch, c channels, s two or three spatial axes.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import channel_widths
from radseg.networks.blocks import CONVOLUTION, ConvBNReLU
from radseg.networks.comparison.frame import ComparisonNetwork
from radseg.networks.comparison.vgg16_blocks import CONVOLUTIONS, WIDTHS

MAX_POOL_WITH_POSITIONS = {2: F.max_pool2d_with_indices, 3: F.max_pool3d_with_indices}


def unpool(x_bcs: Tensor, positions: Tensor) -> Tensor:
    """Undo a max-pool of 2 pixels a side: each value goes where the maximum was, 0 everywhere else.

    The same as torch's max_unpool, which OpenVINO can't trace; a scatter it can.

    Args:
        x_bcs: Features of shape (batch, channels, *size).
        positions: Index of each maximum in its flattened image, as the max-pool gave it; the features' shape.

    Returns:
        Features of shape (batch, channels, *2 size).
    """
    size = [2 * length for length in x_bcs.shape[2:]]
    empty = x_bcs.new_zeros(*x_bcs.shape[:2], math.prod(size))
    return empty.scatter(2, positions.flatten(2), x_bcs.flatten(2)).reshape(*x_bcs.shape[:2], *size)


class SegNet(ComparisonNetwork):
    """SegNet on VGG16: 13 convolutions with batch norm, five max-pools, and 13 convolutions back.

    Each decoder block puts the values where its encoder block's maxima were (`unpool`) and convolves as often as that
    one; its last convolution narrows to the next block's width, and the very last, without batch norm, gives the
    classes, as in the authors' published model. An image of any size comes back at its size: it is padded with edge
    values at the end of each axis to a multiple of 32 and cropped back.

    Args:
        spatial_dims: 2 for slices as in the paper, 3 for volumes.
        in_channels: Channels of the image, 1 for CT.
        out_channels: Channels of the logits.
        features: Widths of the five blocks; VGG16's are the paper's and far too wide for most volumes.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride = 32

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, features: Sequence[int] = WIDTHS
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels)
        self.features = channel_widths("features", features, count=len(CONVOLUTIONS))
        finer = (self.in_channels, *self.features[:-1])
        self.encoder, self.decoder = nn.ModuleDict(), nn.ModuleDict()
        for level, (before, width, count) in enumerate(zip(finer, self.features, CONVOLUTIONS, strict=True), start=1):
            self.encoder[f"block{level}"] = _convolutions(spatial_dims, before, [width] * count)
            back = [width] * (count - 1) + ([before] if level > 1 else [])
            self.decoder[f"block{level}"] = _convolutions(spatial_dims, width, back)
        self.classes = CONVOLUTION[spatial_dims](self.features[0], self.out_channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, CONVOLUTION[spatial_dims]):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def logits(self, x_bcs: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size), sizes multiples of 32."""
        max_pool = MAX_POOL_WITH_POSITIONS[self.spatial_dims]
        x = x_bcs
        positions: list[Tensor] = []
        for block in self.encoder.values():
            x, where = max_pool(block(x), [2] * self.spatial_dims)
            positions.append(where)
        for block, where in zip(reversed([*self.decoder.values()]), reversed(positions), strict=True):
            x = block(unpool(x, where))
        logits: Tensor = self.classes(x)
        return logits


def _convolutions(spatial_dims: int, in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    block = nn.Sequential()
    for number, width in enumerate(widths, start=1):
        block.add_module(f"conv{number}", ConvBNReLU(spatial_dims, in_channels, width, 3))
        in_channels = width
    return block
