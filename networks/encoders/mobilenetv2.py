"""MobileNetV2 (Sandler 2018, width 1) as an encoder: inverted residuals with linear bottlenecks.

The layers are those of keras-applications 1.0.8 up to `out_relu`; the features that a decoder gets are the expanded
ones in front of each strided depthwise convolution, as segmentation_models 1.0.1 takes them.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import positive_integer
from radseg.networks.encoders.inverted_residuals import InvertedResidualEncoder
from radseg.networks.encoders.same_padding import Convention, Padding, SameConvBN, choose_convention

KERAS = Convention("keras", bn_eps=1e-3, bn_momentum=0.001)
TORCH = Convention("torch", bn_eps=1e-5, bn_momentum=0.1)


class Stage(NamedTuple):
    """One line of table 2 of the paper; only the first block has the stride."""

    expansion: int
    channels: int
    blocks: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise 3×3, 1×1 projection without activation; added to the input where the shape stays.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        expansion: How many times wider the depthwise convolution is; 1 has no expansion layer.
        stride: Of the depthwise convolution.
        convention: Padding and batch norm of the weights' library.
    """

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, convention: Convention
    ) -> None:
        super().__init__()
        width = expansion * in_channels
        self.stride = stride
        self.residual = stride == 1 and in_channels == out_channels
        self.expand = SameConvBN(in_channels, width, 1, convention) if expansion != 1 else None
        self.depthwise = SameConvBN(width, width, 3, convention, stride, groups=width)
        self.project = SameConvBN(width, out_channels, 1, convention)

    def forward(self, x_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, in_channels, h, w) to the expanded features at that size and the output at h / stride, w / stride."""
        expanded = x_bchw if self.expand is None else F.relu6(self.expand(x_bchw))
        y: Tensor = self.project(F.relu6(self.depthwise(expanded)))
        return expanded, x_bchw + y if self.residual else y


class MobileNetV2(InvertedResidualEncoder):
    """The convolutions of MobileNetV2, their features at five scales.

    Args:
        in_channels: Channels of the image; ImageNet weights fit 3.
        padding: `keras` for the published Keras weights; `torch` for torchvision's, which were trained with symmetric
            padding and another batch norm. Parameters have the same names and shapes in both.

    Raises:
        ValueError: An argument has another type or value.
    """

    channels: tuple[int, ...] = (96, 144, 192, 576, 1280)

    def __init__(self, in_channels: int = 3, padding: Padding = "keras") -> None:
        super().__init__()
        convention = choose_convention(padding, KERAS, TORCH)
        width = 32
        self.stem = SameConvBN(positive_integer("in_channels", in_channels), width, 3, convention, stride=2)
        self.blocks = nn.ModuleList()
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                self.blocks.append(InvertedResidual(width, stage.channels, stage.expansion, stride, convention))
                width = stage.channels
        self.top = SameConvBN(width, self.channels[-1], 1, convention)

    def activate(self, x_bchw: Tensor) -> Tensor:
        """ReLU6."""
        return F.relu6(x_bchw)
