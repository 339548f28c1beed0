"""InceptionV3 (Szegedy 2016) as an encoder: convolutions of several sizes side by side, all padded "same".

The layers are those of segmentation_models 1.0.1 (`backbones/inception_v3.py`, whose batch norms have no gamma) up to
`mixed10`, registered in the order in which Keras numbers them; so are the features that a decoder gets.
"""

from torch import Tensor, cat, nn
from torch.nn import functional as F

from radseg.networks.arguments import positive_integer
from radseg.networks.encoders.same_padding import (
    Convention,
    Padding,
    SameConv2d,
    SameMaxPool2d,
    choose_convention,
)
from radseg.networks.encoders.shift_batch_norm import ShiftBatchNorm2d

KERAS = Convention("keras", bn_eps=1e-3, bn_momentum=0.01)


class ConvBNReLU(nn.Module):
    """Convolution, batch norm without gamma, ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Rows and columns of the kernel, or one number for both.
        stride: Pixels from one output to the next.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel_size, stride)
        self.bn = ShiftBatchNorm2d(out_channels, KERAS.bn_eps, KERAS.bn_momentum)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, h, w) to (batch, out_channels, ceil(h / stride), ceil(w / stride))."""
        return F.relu(self.bn(self.conv(x_bchw)))


class Mixed(nn.Module):
    """Branches over one input, their outputs concatenated in the order given."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, h, w) to the sum of the branches' channels."""
        return cat([branch(x_bchw) for branch in self.children()], dim=1)


def mean_3x3() -> nn.AvgPool2d:
    """Mean over 3×3 pixels, which Keras takes without those beyond the edge."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def mixed_5x5(in_channels: int, pool_channels: int) -> Mixed:
    """Block of the 1/8 scale: 1×1, 5×5, two 3×3, pooling; 224 + `pool_channels` channels."""
    return Mixed(
        branch1x1=ConvBNReLU(in_channels, 64, 1),
        branch5x5=nn.Sequential(ConvBNReLU(in_channels, 48, 1), ConvBNReLU(48, 64, 5)),
        branch3x3dbl=nn.Sequential(ConvBNReLU(in_channels, 64, 1), ConvBNReLU(64, 96, 3), ConvBNReLU(96, 96, 3)),
        branch_pool=nn.Sequential(mean_3x3(), ConvBNReLU(in_channels, pool_channels, 1)),
    )


def mixed_7x7(width: int) -> Mixed:
    """Block of the 1/16 scale: 1×1, factored 7×7 once and twice, pooling; 768 channels in and out."""
    row, column = (1, 7), (7, 1)
    return Mixed(
        branch1x1=ConvBNReLU(768, 192, 1),
        branch7x7=nn.Sequential(
            ConvBNReLU(768, width, 1), ConvBNReLU(width, width, row), ConvBNReLU(width, 192, column)
        ),
        branch7x7dbl=nn.Sequential(
            ConvBNReLU(768, width, 1),
            ConvBNReLU(width, width, column),
            ConvBNReLU(width, width, row),
            ConvBNReLU(width, width, column),
            ConvBNReLU(width, 192, row),
        ),
        branch_pool=nn.Sequential(mean_3x3(), ConvBNReLU(768, 192, 1)),
    )


def mixed_fork(in_channels: int) -> Mixed:
    """Block of the 1/32 scale: 1×1, 3×3 and two 3×3 that end in a fork of 1×3 and 3×1, pooling; 2048 channels."""

    def fork() -> Mixed:
        return Mixed(row=ConvBNReLU(384, 384, (1, 3)), column=ConvBNReLU(384, 384, (3, 1)))

    return Mixed(
        branch1x1=ConvBNReLU(in_channels, 320, 1),
        branch3x3=nn.Sequential(ConvBNReLU(in_channels, 384, 1), fork()),
        branch3x3dbl=nn.Sequential(ConvBNReLU(in_channels, 448, 1), ConvBNReLU(448, 384, 3), fork()),
        branch_pool=nn.Sequential(mean_3x3(), ConvBNReLU(in_channels, 192, 1)),
    )


def halve_to_sixteenth() -> Mixed:
    """Block from 288 channels at 1/8 to 768 at 1/16."""
    return Mixed(
        branch3x3=ConvBNReLU(288, 384, 3, stride=2),
        branch3x3dbl=nn.Sequential(ConvBNReLU(288, 64, 1), ConvBNReLU(64, 96, 3), ConvBNReLU(96, 96, 3, stride=2)),
        branch_pool=SameMaxPool2d(3, 2),
    )


def halve_to_bottom() -> Mixed:
    """Block from 768 channels at 1/16 to 1280 at 1/32."""
    return Mixed(
        branch3x3=nn.Sequential(ConvBNReLU(768, 192, 1), ConvBNReLU(192, 320, 3, stride=2)),
        branch7x7x3=nn.Sequential(
            ConvBNReLU(768, 192, 1),
            ConvBNReLU(192, 192, (1, 7)),
            ConvBNReLU(192, 192, (7, 1)),
            ConvBNReLU(192, 192, 3, stride=2),
        ),
        branch_pool=SameMaxPool2d(3, 2),
    )


class InceptionV3(nn.Module):
    """The convolutions of InceptionV3, their features at five scales.

    Args:
        in_channels: Channels of the image; ImageNet weights fit 3.
        padding: `keras`; torchvision's InceptionV3 is another network, without padding in its stem and with gammas.

    Raises:
        ValueError: An argument has another type or value, `padding="torch"` included.
    """

    channels: tuple[int, ...] = (64, 192, 288, 768, 2048)

    def __init__(self, in_channels: int = 3, padding: Padding = "keras") -> None:
        super().__init__()
        if padding == "torch":
            raise ValueError(
                "InceptionV3 takes padding='keras' only: no torchvision weights fit, because its batch norms have no "
                "gamma and every convolution is padded; give the Keras weights"
            )
        choose_convention(padding, KERAS)
        self.conv1 = ConvBNReLU(positive_integer("in_channels", in_channels), 32, 3, stride=2)
        self.conv2 = ConvBNReLU(32, 32, 3)
        self.conv3 = ConvBNReLU(32, 64, 3)
        self.pool = SameMaxPool2d(3, 2)
        self.conv4 = ConvBNReLU(64, 80, 1)
        self.conv5 = ConvBNReLU(80, 192, 3)
        self.mixed0 = mixed_5x5(192, 32)
        self.mixed1 = mixed_5x5(256, 64)
        self.mixed2 = mixed_5x5(288, 64)
        self.mixed3 = halve_to_sixteenth()
        self.mixed4 = mixed_7x7(128)
        self.mixed5 = mixed_7x7(160)
        self.mixed6 = mixed_7x7(160)
        self.mixed7 = mixed_7x7(192)
        self.mixed8 = halve_to_bottom()
        self.mixed9 = mixed_fork(1280)
        self.mixed10 = mixed_fork(2048)

    def forward(self, x_bchw: Tensor) -> list[Tensor]:
        """Extract features.

        Args:
            x_bchw: Images of shape (batch, in_channels, height, width), both sizes multiples of 32.

        Returns:
            Five maps with `channels` channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        half = self.conv3(self.conv2(self.conv1(x_bchw)))
        quarter = self.conv5(self.conv4(self.pool(half)))
        eighth = self.mixed2(self.mixed1(self.mixed0(self.pool(quarter))))
        sixteenth = self.mixed7(self.mixed6(self.mixed5(self.mixed4(self.mixed3(eighth)))))
        bottom = self.mixed10(self.mixed9(self.mixed8(sixteenth)))
        return [half, quarter, eighth, sixteenth, bottom]
