"""EfficientNet-B3 (Tan & Le 2019) as an encoder: inverted residuals with squeeze-and-excitation and swish.

The layers are those of the efficientnet 1.0.0 package up to `top_activation`; the features that a decoder gets are the
expanded ones in front of each strided depthwise convolution, as segmentation_models 1.0.1 takes them. MONAI's
EfficientNetBN isn't used because its padding is computed once, for 300 pixels.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import positive_integer
from radseg.networks.encoders.inverted_residuals import InvertedResidualEncoder
from radseg.networks.encoders.same_padding import Convention, Padding, SameConvBN, choose_convention

KERAS = Convention("keras", bn_eps=1e-3, bn_momentum=0.01)
TORCH = Convention("torch", bn_eps=1e-5, bn_momentum=0.1)


class Stage(NamedTuple):
    """One line of table 1 of the paper at width 1.2 and depth 1.4; only the first block has the stride."""

    expansion: int
    kernel_size: int
    channels: int
    blocks: int
    stride: int


STAGES = (
    Stage(1, 3, 24, 2, 1),
    Stage(6, 3, 32, 3, 2),
    Stage(6, 5, 48, 3, 2),
    Stage(6, 3, 96, 5, 2),
    Stage(6, 5, 136, 5, 1),
    Stage(6, 5, 232, 6, 2),
    Stage(6, 3, 384, 2, 1),
)
# The reference lets the rate grow by 0.2 over the 16 blocks of B0, and so beyond 0.2 in the 26 of B3.
DROP_RATE_PER_BLOCK = 0.2 / 16


class SqueezeExcite(nn.Module):
    """Weighs every channel by what the means of all channels say.

    Args:
        channels: Channels of the input.
        reduced: Channels in between.
    """

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, channels, h, w) to the same shape."""
        mean = x_bchw.mean((2, 3), keepdim=True)
        weight: Tensor = self.expand(F.silu(self.reduce(mean))).sigmoid()
        return x_bchw * weight


class MBConv(nn.Module):
    """1×1 expansion, depthwise convolution, squeeze-and-excitation, 1×1 projection without activation.

    Where the shape stays, the result is added to the input; in training whole images of it are dropped by chance
    (drop connect, Huang 2016) and the others scaled up.

    Args:
        in_channels: Channels of the input; a quarter of them is the squeeze.
        out_channels: Channels of the output.
        kernel_size: Of the depthwise convolution.
        expansion: How many times wider the depthwise convolution is; 1 has no expansion layer.
        stride: Of the depthwise convolution.
        drop_rate: Probability with which an image's residual is dropped in training.
        convention: Padding and batch norm of the weights' library.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        expansion: int,
        stride: int,
        drop_rate: float,
        convention: Convention,
    ) -> None:
        super().__init__()
        width = expansion * in_channels
        self.stride = stride
        self.drop_rate = drop_rate
        self.residual = stride == 1 and in_channels == out_channels
        self.expand = SameConvBN(in_channels, width, 1, convention) if expansion != 1 else None
        self.depthwise = SameConvBN(width, width, kernel_size, convention, stride, groups=width)
        self.squeeze_excite = SqueezeExcite(width, in_channels // 4)
        self.project = SameConvBN(width, out_channels, 1, convention)

    def forward(self, x_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, in_channels, h, w) to the expanded features at that size and the output at h / stride, w / stride."""
        expanded = x_bchw if self.expand is None else F.silu(self.expand(x_bchw))
        y: Tensor = self.project(self.squeeze_excite(F.silu(self.depthwise(expanded))))
        if not self.residual:
            return expanded, y
        if self.training:
            y = y * F.dropout(y.new_ones(y.shape[0], 1, 1, 1), self.drop_rate)
        return expanded, x_bchw + y


class EfficientNetB3(InvertedResidualEncoder):
    """The convolutions of EfficientNet-B3, their features at five scales.

    Args:
        in_channels: Channels of the image; ImageNet weights fit 3.
        padding: `keras` for the published Keras weights; `torch` for torchvision's, which were trained with symmetric
            padding and another batch norm. Parameters have the same names and shapes in both.

    Raises:
        ValueError: An argument has another type or value.
    """

    channels: tuple[int, ...] = (144, 192, 288, 816, 1536)

    def __init__(self, in_channels: int = 3, padding: Padding = "keras") -> None:
        super().__init__()
        convention = choose_convention(padding, KERAS, TORCH)
        width = 40
        self.stem = SameConvBN(positive_integer("in_channels", in_channels), width, 3, convention, stride=2)
        self.blocks = nn.ModuleList()
        for stage in STAGES:
            for number in range(stage.blocks):
                self.blocks.append(
                    MBConv(
                        width,
                        stage.channels,
                        stage.kernel_size,
                        stage.expansion,
                        stage.stride if number == 0 else 1,
                        DROP_RATE_PER_BLOCK * len(self.blocks),
                        convention,
                    )
                )
                width = stage.channels
        self.top = SameConvBN(width, self.channels[-1], 1, convention)

    def activate(self, x_bchw: Tensor) -> Tensor:
        """Swish."""
        return F.silu(x_bchw)
