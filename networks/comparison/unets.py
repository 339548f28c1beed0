"""U-Net and U-Net++ of MONAI for any image size, U-Net++ as one tensor.

Ronneberger, Fischer and Brox, U-Net (MICCAI 2015); Zhou, Siddiquee, Tajbakhsh and Liang, UNet++ (DLMIA 2018). MONAI's
defaults: instance norm, leaky ReLU, dropout off, transposed convolutions. Shapes: b batch, c channels, s two or three
spatial axes.
"""

from collections.abc import Sequence

from monai.networks.nets import BasicUNet, BasicUNetPlusPlus
from torch import Tensor, nn

from radseg.networks.arguments import channel_widths
from radseg.networks.comparison.frame import ComparisonNetwork
from radseg.networks.padding import pad_to_multiple

WIDTHS = (32, 32, 64, 128, 256, 32)
# The biases that instance norm cancels are left out, so that every parameter learns.
CONVOLUTION_OPTIONS = {"act": ("leakyrelu", {"negative_slope": 0.1, "inplace": False}), "bias": False}


class UNet(ComparisonNetwork):
    """MONAI's `BasicUNet`: four max-pools, two convolutions a level, four transposed convolutions.

    An image of any size comes back at its size: it is padded with edge values at the end of each axis to a multiple of
    16, or to 32 where nothing is longer than 16, and cropped back.

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: Channels of the image, 1 for CT.
        out_channels: Channels of the logits.
        features: Widths of the five levels, finest first, then that of the last block at full size.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride = 16

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, features: Sequence[int] = WIDTHS
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels)
        self.features = channel_widths("features", features, count=6)
        self.net = self._build()

    def logits(self, x_bcs: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size or more), sizes multiples of 16."""
        # One value a channel at the bottom has no variance for instance norm to divide by.
        one_value = max(x_bcs.shape[2:]) == self.stride
        return self._run(pad_to_multiple(x_bcs, 2 * self.stride) if one_value else x_bcs)

    def _build(self) -> nn.Module:
        net: nn.Module = BasicUNet(
            self.spatial_dims, self.in_channels, self.out_channels, self.features, **CONVOLUTION_OPTIONS
        )
        return net

    def _run(self, x_bcs: Tensor) -> Tensor:
        logits: Tensor = self.net(x_bcs)
        return logits


class UNetPlusPlus(UNet):
    """MONAI's `BasicUNetPlusPlus`: a U-Net whose skips are dense pyramids of convolutions.

    The logits are those of the deepest node, without deep supervision; the heads of the three others are left out.
    Image sizes and arguments are as in `UNet`.
    """

    def _build(self) -> nn.Module:
        net: nn.Module = BasicUNetPlusPlus(
            self.spatial_dims, self.in_channels, self.out_channels, self.features, **CONVOLUTION_OPTIONS
        )
        for head in ("final_conv_0_1", "final_conv_0_2", "final_conv_0_3"):
            setattr(net, head, nn.Identity())
        return net

    def _run(self, x_bcs: Tensor) -> Tensor:
        deepest: list[Tensor] = self.net(x_bcs)
        return deepest[0]
