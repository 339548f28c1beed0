"""Convolution blocks in two and three dimensions from which the networks are put together.

cbr stands for convolution without bias, batch norm, ReLU.
"""

from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONVOLUTION: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
AVERAGE_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}
LINEAR_MODE = {2: "bilinear", 3: "trilinear"}


class ConvBNReLU(nn.Module):
    """One cbr of odd kernel size that keeps the image size.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd, the same along every axis.
        dilation: Distance between the kernel's taps in pixels.
        groups: Groups of channels convolved apart; `in_channels` makes it depthwise.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = CONVOLUTION[spatial_dims](
            in_channels,
            out_channels,
            kernel_size,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.bn = BATCH_NORM[spatial_dims](out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size)."""
        return F.relu(self.bn(self.conv(x)))


class DoubleConv(nn.Module):
    """Two cbr of kernel size 3, as in every level of a U-Net."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        conv, norm = CONVOLUTION[spatial_dims], BATCH_NORM[spatial_dims]
        self.conv1 = conv(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = norm(out_channels)
        self.conv2 = conv(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size)."""
        return F.relu(self._convolve(x))

    def _convolve(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return y


class ResidualBlock(DoubleConv):
    """Two 3-convolutions with batch norm whose result is added to the input before the last ReLU."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__(spatial_dims, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        return F.relu(x + self._convolve(x))


def rescale(x: Tensor, octaves: int) -> Tensor:
    """Enlarge (positive `octaves`) or shrink (negative) every spatial axis by 2 ** octaves.

    Enlarging is linear. Shrinking averages, because linear sampling would skip most pixels and alias.

    Args:
        x: Features of shape (batch, channels, *spatial); when shrinking, every size divides.
        octaves: Doublings of the size; 0 returns `x`.
    """
    spatial_dims = x.ndim - 2
    if octaves > 0:
        return F.interpolate(x, scale_factor=float(2**octaves), mode=LINEAR_MODE[spatial_dims], align_corners=False)
    if octaves < 0:
        return AVERAGE_POOL[spatial_dims](x, 2**-octaves)
    return x
