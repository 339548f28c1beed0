"""What the three lung-field networks share: their convolutions, as Keras has them, and any image size in and out."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import (
    check_batch_statistics,
    check_image,
    dropout_share,
    positive_integer,
    true_or_false,
)
from radseg.networks.padding import crop_to_size, pad_to_multiple


class Convolution(nn.Module):
    """3×3 convolution, batch norm if asked for, ReLU; the convolution has a bias only without batch norm.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        batch_norm: Normalise between convolution and ReLU.
        dilation: Distance between the kernel's taps in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, batch_norm: bool, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=not batch_norm)
        # Keras: epsilon 0.001, momentum 0.99
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01) if batch_norm else nn.Identity()

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, height, width) to (batch, out_channels, height, width)."""
        return F.relu(self.bn(self.conv(x_bchw)))


class Convolutions(nn.Sequential):
    """Several `Convolution` in a row, the first of which changes the number of channels."""

    def __init__(
        self, in_channels: int, out_channels: int, batch_norm: bool, count: int = 2, dilation: int = 1
    ) -> None:
        super().__init__()
        for number in range(1, count + 1):
            self.add_module(f"conv{number}", Convolution(in_channels, out_channels, batch_norm, dilation))
            in_channels = out_channels


class Deconvolution(nn.ConvTranspose2d):
    """Transposed 3×3 convolution with bias that doubles height and width; no ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)


class LungNetwork(nn.Module, ABC):
    """The frame of a lung-field network: arguments and images are checked, any image size comes back at its size.

    A network built in this frame says its `stride` and computes `logits` of a padded image.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of the logits.
        features: Width of the finest level; the others are multiples of it.
        dropout: Share of single values set to 0 in training.
        batch_norm: Normalise after every 3×3 convolution.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride: int  # pixels a side that become one at the coarsest level

    def __init__(self, in_channels: int, out_channels: int, features: int, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.in_channels = positive_integer("in_channels", in_channels)
        self.out_channels = positive_integer("out_channels", out_channels)
        self.features = positive_integer("features", features)
        self.dropout = nn.Dropout(dropout_share("dropout", dropout))
        self.batch_norm = true_or_false("batch_norm", batch_norm)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Segment X-rays.

        Args:
            x_bchw: Images of shape (batch, in_channels, height, width), any height and width.

        Returns:
            Logits of shape (batch, out_channels, height, width).

        Raises:
            ValueError: Another shape, or a training batch too small for batch norm.
        """
        check_image(type(self).__name__, x_bchw, 2, self.in_channels)
        padded = pad_to_multiple(x_bchw, self.stride)
        if self.training and self.batch_norm:
            check_batch_statistics(padded, self.stride)
        return crop_to_size(self.logits(padded), x_bchw.shape[2:])

    @abstractmethod
    def logits(self, x_bchw: Tensor) -> Tensor:
        """(batch, in_channels, h, w) to (batch, out_channels, h, w), h and w multiples of `stride`."""
