"""Keras' "same" padding: an output of ceil(size / stride), the odd row and column added at the bottom and right.

PyTorch's own padding is symmetric, so every convolution or pooling of stride 2 on an even size looks at pixels one
further up and left; weights trained with one convention blur and shift features under the other.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["keras", "torch"]


@dataclass(frozen=True)
class Convention:
    """What the library that trained the weights does differently.

    Attributes:
        padding: `keras` adds what "same" asks for, `torch` adds (kernel - 1) / 2 on every side.
        bn_eps: What batch norm adds to the variance.
        bn_momentum: Share of the new batch in the running statistics (1 - Keras' momentum).
    """

    padding: Padding
    bn_eps: float
    bn_momentum: float


def choose_convention(padding: str, *conventions: Convention) -> Convention:
    """Return the convention with the name `padding`.

    Raises:
        ValueError: None has it; the message lists those there are.
    """
    for convention in conventions:
        if convention.padding == padding:
            return convention
    raise ValueError(f"padding must be {' or '.join(repr(c.padding) for c in conventions)}, got {padding!r}")


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels that "same" adds along one axis.

    Args:
        size: Pixels of the image along the axis.
        kernel: Pixels of the kernel.
        stride: Pixels from one output to the next.

    Returns:
        Pixels added before (top or left) and after (bottom or right); after has the odd one.
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x_bchw: Tensor, kernel: tuple[int, int], stride: tuple[int, int], value: float = 0.0) -> Tensor:
    """Pad images so that `kernel` without further padding gives ceil(size / stride) rows and columns.

    Args:
        x_bchw: Images of shape (batch, channels, height, width).
        kernel: Rows and columns of the kernel.
        stride: Rows and columns from one output to the next.
        value: What is added.

    Returns:
        The padded images; `x_bchw` itself when there is nothing to add.
    """
    top, bottom = same_padding(x_bchw.shape[2], kernel[0], stride[0])
    left, right = same_padding(x_bchw.shape[3], kernel[1], stride[1])
    return F.pad(x_bchw, (left, right, top, bottom), value=value) if top + bottom + left + right else x_bchw


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as the weights' library does; its state dict is that of `nn.Conv2d`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Rows and columns of the kernel, or one number for both.
        stride: Pixels from one output to the next.
        groups: Groups of channels convolved apart; `in_channels` makes it depthwise.
        padding: `keras` or `torch`, see `Convention`. They are one for odd kernels of stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        groups: int = 1,
        padding: Padding = "keras",
    ) -> None:
        rows, columns = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        symmetric = ((rows - 1) // 2, (columns - 1) // 2)
        odd = rows % 2 == 1 and columns % 2 == 1
        self.pads_itself = padding == "keras" and not (stride == 1 and odd)
        super().__init__(
            in_channels,
            out_channels,
            (rows, columns),
            stride=stride,
            padding=0 if self.pads_itself else symmetric,
            groups=groups,
            bias=False,
        )

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, h, w) to (batch, out_channels, ceil(h / stride), ceil(w / stride))."""
        if self.pads_itself:
            rows, columns = self.kernel_size
            x_bchw = pad_same(x_bchw, (rows, columns), (self.stride[0], self.stride[1]))
        return super().forward(x_bchw)


class SameConvBN(nn.Module):
    """A convolution and its batch norm; the activation after it, if any, is the caller's.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Rows and columns of the kernel.
        convention: Padding and batch norm of the weights' library.
        stride: Pixels from one output to the next.
        groups: Groups of channels convolved apart.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        convention: Convention,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel_size, stride, groups, convention.padding)
        self.bn = nn.BatchNorm2d(out_channels, eps=convention.bn_eps, momentum=convention.bn_momentum)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, h, w) to (batch, out_channels, ceil(h / stride), ceil(w / stride))."""
        y: Tensor = self.bn(self.conv(x_bchw))
        return y


class SameMaxPool2d(nn.Module):
    """Maximum over a square window; the padding never wins.

    Args:
        kernel_size: Rows and columns of the window.
        stride: Pixels from one output to the next.
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, c, h, w) to (batch, c, ceil(h / stride), ceil(w / stride))."""
        kernel, stride = (self.kernel_size, self.kernel_size), (self.stride, self.stride)
        return F.max_pool2d(pad_same(x_bchw, kernel, stride, value=float("-inf")), kernel, stride)
