"""FCN-8s: VGG16 made fully convolutional, its scores at three scales added and enlarged.

Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015 (arXiv 1411.4038),
sections 3 and 4. Shapes: b batch, c channels, s two or three spatial axes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import channel_widths, dropout_share
from radseg.networks.blocks import CONVOLUTION, TRANSPOSED_CONVOLUTION, rescale
from radseg.networks.comparison.frame import ComparisonNetwork
from radseg.networks.comparison.vgg16_blocks import WIDTHS, VGG16Blocks, he_convolution

CLASSIFIER_WIDTH = 4096
# conv6 spans a window's whole coarsest grid: 7 pixels of a 224 image in VGG16, 3 voxels of a 96 window here. 7 a side
# in 3D would be 343 taps, nearly all of them on padding.
CLASSIFIER_KERNEL = {2: 7, 3: 3}


class FCN8s(ComparisonNetwork):
    """FCN-8s on VGG16.

    Five blocks with max-pools (1/2 … 1/32), conv6 and conv7 with dropout, and 1×1 scores of the classes; those are
    doubled and added to the scores of pool4, doubled and added to the scores of pool3, and enlarged eight times. As in
    the paper the two doublings are transposed convolutions that start as linear interpolation and learn, the last
    enlargement stays linear interpolation; the scores start at random, which the paper found no worse than its zeros.
    Instead of 100 pixels of zeros around the image, which keep the paper's
    unpadded conv6 alive, the image is padded with edge values at the end of each axis to a multiple of 32, conv6 keeps
    the size, and the logits are cropped back. There is no batch norm, so one image of any size trains.

    Args:
        spatial_dims: 2 for slices as in the paper, 3 for volumes.
        in_channels: Channels of the image, 1 for CT.
        out_channels: Channels of the logits.
        features: Widths of the five blocks, then that of conv6 and conv7; the paper's are far too wide for most
            volumes.
        dropout: Share of single values set to 0 in training behind conv6 and conv7.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride = 32

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = (*WIDTHS, CLASSIFIER_WIDTH),
        dropout: float = 0.5,
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels)
        self.features = channel_widths("features", features, count=6)
        *widths, hidden = self.features
        self.encoder = VGG16Blocks(spatial_dims, in_channels, widths)
        self.conv6 = he_convolution(spatial_dims, widths[-1], hidden, CLASSIFIER_KERNEL[spatial_dims])
        self.conv7 = he_convolution(spatial_dims, hidden, hidden, 1)
        self.dropout = nn.Dropout(dropout_share("dropout", dropout))
        convolution = CONVOLUTION[spatial_dims]
        self.score_conv7 = convolution(hidden, out_channels, 1)
        self.score_pool4 = convolution(widths[3], out_channels, 1)
        self.score_pool3 = convolution(widths[2], out_channels, 1)
        self.double_conv7 = linear_doubling(spatial_dims, out_channels)
        self.double_pool4 = linear_doubling(spatial_dims, out_channels)

    def logits(self, x_bcs: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size), sizes multiples of 32."""
        _, _, pool3, pool4, pool5 = self.encoder(x_bcs)
        x = self.dropout(F.relu(self.conv6(pool5)))
        x = self.dropout(F.relu(self.conv7(x)))
        x = self.double_conv7(self.score_conv7(x)) + self.score_pool4(pool4)
        x = self.double_pool4(x) + self.score_pool3(pool3)
        return rescale(x, 3)


def linear_doubling(spatial_dims: int, channels: int) -> nn.ConvTranspose2d | nn.ConvTranspose3d:
    """A transposed convolution without bias that doubles every axis and starts as linear interpolation.

    Its kernel spans 4 pixels with weights 1/4, 3/4, 3/4, 1/4 along each axis, on a channel's own values only.
    """
    up = TRANSPOSED_CONVOLUTION[spatial_dims](channels, channels, 4, stride=2, padding=1, bias=False)
    along_axis = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernel = along_axis
    for _ in range(spatial_dims - 1):
        kernel = kernel.unsqueeze(-1) * along_axis
    with torch.no_grad():
        up.weight.zero_()
        for channel in range(channels):
            up.weight[channel, channel] = kernel
    return up
