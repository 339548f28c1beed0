"""Spine-GAN: a dilated-convolution autoencoder with an LSTM over its coarse grid, and the judge of its masks.

Han, Wei, Mercado, Leung, Li: Spine-GAN: Semantic segmentation of multiple spinal structures. Medical Image Analysis 50
(2018) 23-35. Its abstract names the parts: atrous convolution autoencoder, local LSTM, discriminator. Their layers,
widths and order are those of the first author's program (github.com/zhyhan/spine-reports-gene, its network that has all
three). Shapes: b batch, c channels, s two or three spatial axes.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import channel_widths, check_image, positive_integer
from radseg.networks.blocks import (
    AVERAGE_POOL,
    BATCH_NORM,
    CONVOLUTION,
    MAX_POOL,
    TRANSPOSED_CONVOLUTION,
    ConvBNReLU,
)
from radseg.networks.comparison.frame import ComparisonNetwork
from radseg.networks.padding import pad_to_multiple

RATES = (2, 4, 8, 16)  # dilations of the four convolutions at a quarter of the size
CELL = 4  # positions a side, at a quarter of the size, that the LSTM sees as one
DISCRIMINATOR_STRIDE = 64  # pixels a side that get one verdict
DROPOUT = 0.4


class UpConvolution(nn.Module):
    """Transposed convolution 3 that doubles every spatial axis, batch norm, ReLU."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = TRANSPOSED_CONVOLUTION[spatial_dims](
            in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=False
        )
        self.bn = BATCH_NORM[spatial_dims](out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *2 size)."""
        return F.relu(self.bn(self.conv(x)))


class LocalLSTM(nn.Module):
    """What cells of the coarse grid know of each other: an LSTM that reads them one after the other.

    Every cell is the mean of 4 positions a side. The cells are read in the order of the array, the last axis fastest,
    forwards and backwards, so that each is told of all before it and all after it; two transposed convolutions take
    the two hidden states of each cell back to the size of the features.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the features, of each hidden state and of the result.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, batch_first=True, bidirectional=True)
        for name, bias in self.lstm.named_parameters():
            if name.startswith("bias_ih"):
                # gates start open, as in the program: a young LSTM would forget a cell after a few steps
                nn.init.ones_(bias.data[channels : 2 * channels])
        self.up1 = UpConvolution(spatial_dims, 2 * channels, channels)
        self.up2 = UpConvolution(spatial_dims, channels, channels)

    def forward(self, x_bcs: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape, every size a multiple of 4."""
        grid_bcs = AVERAGE_POOL[x_bcs.ndim - 2](x_bcs, CELL)
        sequence_bnc = grid_bcs.flatten(2).transpose(1, 2)
        states_bnc, _ = self.lstm(sequence_bnc)
        states_bcs = states_bnc.transpose(1, 2).unflatten(2, grid_bcs.shape[2:])
        context: Tensor = self.up2(self.up1(states_bcs))
        return context


class SpineGANGenerator(ComparisonNetwork):
    """The segmenting network of Spine-GAN, in 2D as published and in 3D by a third axis everywhere.

    Two cbr 7, max-pool, two cbr 3, max-pool, four cbr 3 at dilations 2, 4, 8 and 16, to which the `LocalLSTM` adds
    what it read; two transposed convolutions, cbr 1, and 1×1 to the classes. There are no skip connections.

    "Local" leaves open what the LSTM reads in which order; here as in the program it is means of 4 positions a side at
    a quarter of the size, row by row, both ways. Other than there, the LSTM has no peepholes, which torch's hasn't,
    convolutions before a batch norm have no bias, and batch norm has a scale. An image of any size comes back at its
    size: it is padded with edge values at the end of each axis to a multiple of 16 and cropped back.

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: Channels of the image, 1 for CT.
        out_channels: Channels of the logits.
        features: Widths at the full size, at a half and at a quarter; the program's are 32, 64, 128.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride = 4 * CELL

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, features: Sequence[int] = (32, 64, 128)
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels)
        self.features = channel_widths("features", features, count=3)
        full, half, quarter = self.features
        self.full1 = ConvBNReLU(spatial_dims, in_channels, full, 7)
        self.full2 = ConvBNReLU(spatial_dims, full, full, 7)
        self.half1 = ConvBNReLU(spatial_dims, full, half, 3)
        self.half2 = ConvBNReLU(spatial_dims, half, half, 3)
        self.dilated = nn.Sequential(
            *(
                ConvBNReLU(spatial_dims, before, quarter, 3, dilation=rate)
                for before, rate in zip((half, quarter, quarter, quarter), RATES, strict=True)
            )
        )
        self.local_lstm = LocalLSTM(spatial_dims, quarter)
        self.up1 = UpConvolution(spatial_dims, quarter, quarter)
        self.up2 = UpConvolution(spatial_dims, quarter, quarter)
        self.embedding = ConvBNReLU(spatial_dims, quarter, half, 1)
        self.classes = CONVOLUTION[spatial_dims](half, out_channels, 1)

    def logits(self, x_bcs: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size), sizes multiples of 16."""
        max_pool = MAX_POOL[self.spatial_dims]
        x = self.half2(self.half1(max_pool(self.full2(self.full1(x_bcs)), 2)))
        x = self.dilated(max_pool(x, 2))
        x = self.up2(self.up1(x + self.local_lstm(x)))
        logits: Tensor = self.classes(self.embedding(x))
        return logits


class StridedConvolution(nn.Module):
    """Convolution 7 of stride 2, batch norm, ReLU, average pool 2: every spatial axis becomes a quarter.

    Batch norm keeps no running statistics: a discriminator only ever judges the batches of a training, and judging
    the generator's then leaves it as it was.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = CONVOLUTION[spatial_dims](in_channels, out_channels, 7, stride=2, padding=3, bias=False)
        self.bn = BATCH_NORM[spatial_dims](out_channels, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size / 4), every size a multiple of 4."""
        return AVERAGE_POOL[x.ndim - 2](F.relu(self.bn(self.conv(x))), 2)


class SpineGANDiscriminator(nn.Module):
    """The judge of Spine-GAN: tells masks that a human drew from masks that the generator did.

    Three strided convolutions, then two fully connected layers with dropout between, applied to each position that
    is left, so that every 64 pixels a side get a verdict of their own and images may have any size. It is shown masks
    alone, as in the program, without the image beside them.

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: Channels of a mask: as many as the generator's logits have.
        features: Widths of the three convolutions; the fully connected layer has twice the last.

    Raises:
        ValueError: An argument has another type or range.
    """

    def __init__(self, spatial_dims: int, in_channels: int, features: Sequence[int] = (32, 64, 128)) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 (slices) or 3 (volumes), got {spatial_dims!r}")
        self.spatial_dims = spatial_dims
        self.in_channels = positive_integer("in_channels", in_channels)
        self.features = channel_widths("features", features, count=3)
        first, second, third = self.features
        self.block1 = StridedConvolution(spatial_dims, in_channels, first)
        self.block2 = StridedConvolution(spatial_dims, first, second)
        self.block3 = StridedConvolution(spatial_dims, second, third)
        self.connected = CONVOLUTION[spatial_dims](third, 2 * third, 1)
        self.dropout = nn.Dropout(DROPOUT)
        self.verdict = CONVOLUTION[spatial_dims](2 * third, 1, 1)

    def forward(self, mask_bcs: Tensor) -> Tensor:
        """Judge masks.

        Args:
            mask_bcs: Share of each class, of shape (batch, in_channels, *size), `spatial_dims` spatial axes of any
                size.

        Returns:
            Logits of being drawn by a human, of shape (batch, 1, *size / 64), rounded up.

        Raises:
            ValueError: Another shape.
        """
        check_image("SpineGANDiscriminator", mask_bcs, self.spatial_dims, self.in_channels)
        x = self.block3(self.block2(self.block1(pad_to_multiple(mask_bcs, DISCRIMINATOR_STRIDE))))
        verdicts: Tensor = self.verdict(self.dropout(F.relu(self.connected(x))))
        return verdicts
