"""DeepLabv3+: atrous spatial pyramid pooling on ResNet50 at output stride 16, and a decoder that sharpens at 1/4.

Chen, Zhu, Papandreou, Schroff and Adam, Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation, ECCV 2018 (arXiv 1802.02611), section 3. The backbone is MONAI's. Shapes: b batch, c channels, s two or
three spatial axes.
"""

from collections.abc import Sequence

import torch
from monai.networks.nets import resnet50
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import check_batch_statistics, positive_integer
from radseg.networks.blocks import CONVOLUTION, ConvBNReLU, rescale
from radseg.networks.comparison.frame import ComparisonNetwork

STEM_WIDTH = 64
# In 3D a third of the paper's: a window of 96 voxels is 6 a side at 1/16, where the taps at 6, 12 and 18 would lie on
# padding for nearly every voxel and leave 1×1 convolutions.
RATES = {2: (6, 12, 18), 3: (2, 4, 6)}


class DilatedResNet50(nn.Module):
    """MONAI's ResNet50 whose last stage keeps 1/16 of the size and dilates its kernels by 2 instead.

    It computes what the network of stride 32 does, at every position (paper, section 3.1): weights fit both.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        features: Width of the stem and the first stage; ResNet50 has 64. The stages give 4, 8, 16 and 32 times as many.
    """

    def __init__(self, spatial_dims: int, in_channels: int, features: int) -> None:
        super().__init__()
        net = resnet50(
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            widen_factor=features / STEM_WIDTH,
            feed_forward=False,
            bias_downsample=False,
        )
        self.conv1, self.bn1, self.maxpool = net.conv1, net.bn1, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        once, twice = (1,) * spatial_dims, (2,) * spatial_dims
        self.layer4[0].conv2.stride = self.layer4[0].downsample[0].stride = once
        for unit in self.layer4[1:]:
            unit.conv2.dilation = unit.conv2.padding = twice

    def forward(self, x_bcs: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, in_channels, *size) to the first stage's features at 1/4 of the size and the last's at 1/16."""
        fine: Tensor = self.layer1(self.maxpool(F.relu(self.bn1(self.conv1(x_bcs)))))
        return fine, self.layer4(self.layer3(self.layer2(fine)))


class AtrousPyramidPooling(nn.Module):
    """ASPP: the same features at several dilation rates and as image mean, merged.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        channels: Channels of every branch and of the output.
        rates: Distances between the taps of the dilated 3×3 convolutions in pixels.
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.pointwise = ConvBNReLU(spatial_dims, in_channels, channels, 1)
        self.dilated = nn.ModuleDict(
            {f"rate{rate}": ConvBNReLU(spatial_dims, in_channels, channels, 3, dilation=rate) for rate in rates}
        )
        # A bias for the paper's batch norm: a batch of one image has one value a channel here, and no variance.
        self.image_mean = CONVOLUTION[spatial_dims](in_channels, channels, 1)
        self.merge = ConvBNReLU(spatial_dims, (len(rates) + 2) * channels, channels, 1)

    def forward(self, x_bcs: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, channels, *size)."""
        mean = x_bcs.mean(dim=tuple(range(2, x_bcs.ndim)), keepdim=True)
        branches = [self.pointwise(x_bcs), *(branch(x_bcs) for branch in self.dilated.values())]
        branches.append(F.relu(self.image_mean(mean)).expand_as(branches[0]))
        merged: Tensor = self.merge(torch.cat(branches, dim=1))
        return merged


class DeepLabV3Plus(ComparisonNetwork):
    """DeepLabv3+ on ResNet50 at output stride 16.

    ASPP's features are enlarged four times and put beside the backbone's at 1/4, which are narrowed to 48 channels;
    two 3×3 convolutions of 256 and a 1×1 give the classes, enlarged four times. Enlarging is linear. An image of any
    size comes back at its size: it is padded with edge values at the end of each axis to a multiple of 16 and cropped
    back. A training step on one image needs more than 16 pixels along some axis.

    Args:
        spatial_dims: 2 for slices as in the paper (ASPP rates 6, 12, 18), 3 for volumes (2, 4, 6).
        in_channels: Channels of the image, 1 for CT.
        out_channels: Channels of the logits.
        features: Width of ResNet50's stem, 64 in the paper; everything else is a multiple of it, ASPP and decoder four
            times, the narrowed features three quarters.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride = 16

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, features: int = STEM_WIDTH) -> None:
        super().__init__(spatial_dims, in_channels, out_channels)
        self.features = positive_integer("features", features)
        width, narrow = 4 * features, max(1, 3 * features // 4)
        self.backbone = DilatedResNet50(spatial_dims, in_channels, features)
        self.aspp = AtrousPyramidPooling(spatial_dims, 32 * features, width, RATES[spatial_dims])
        self.narrow = ConvBNReLU(spatial_dims, 4 * features, narrow, 1)
        self.decoder1 = ConvBNReLU(spatial_dims, width + narrow, width, 3)
        self.decoder2 = ConvBNReLU(spatial_dims, width, width, 3)
        self.classes = CONVOLUTION[spatial_dims](width, out_channels, 1)

    def logits(self, x_bcs: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size), sizes multiples of 16."""
        if self.training:
            check_batch_statistics(x_bcs, self.stride)
        fine, coarse = self.backbone(x_bcs)
        x = torch.cat([rescale(self.aspp(coarse), 2), self.narrow(fine)], dim=1)
        return rescale(self.classes(self.decoder2(self.decoder1(x))), 2)
