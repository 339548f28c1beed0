"""SpineFusionNet: fractured vertebrae in CT by multi-scale feature fusion and three attention blocks, in 2D and 3D.

A U-Net's contracting path feeds FFM, SEM, a common scale of 1/8, ASPP, RCBAM, RBRAB and LPRAB, each C channels in and
out, and a decoder of three doublings. Shapes: b batch, c channels, s two or three spatial axes.
"""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import channel_widths, check_batch_statistics, check_image, known_names, positive_integer
from radseg.networks.blocks import (
    BATCH_NORM,
    CONVOLUTION,
    MAX_POOL,
    TRANSPOSED_CONVOLUTION,
    ConvBNReLU,
    DoubleConv,
    rescale,
)
from radseg.networks.padding import crop_to_size, pad_to_multiple
from radseg.networks.spine_attention import (
    LocalPositionAttention,
    ResidualBorderRefinement,
    ResidualConvolutionalAttention,
)
from radseg.networks.spine_pyramid import AtrousPyramidPooling, CommonScale, FeatureFusion, PyramidExcitation

MODULES = ("ffm", "sem", "aspp", "rcbam", "rbrab", "lprab")
CHANNELS = 64  # C: what every module maps from and to
STRIDE = 16  # pixels a side that become one in the contracting path's last block


class ContractingPath(nn.Module):
    """A U-Net's five blocks with max-pooling between them.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        features: Widths of the five blocks.
    """

    def __init__(self, spatial_dims: int, in_channels: int, features: Sequence[int]) -> None:
        super().__init__()
        self.block1, self.block2, self.block3, self.block4, self.block5 = (
            DoubleConv(spatial_dims, before, after)
            for before, after in zip((in_channels, *features[:-1]), features, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(batch, in_channels, *size) to the outputs of blocks 2 to 5, at 1/2, 1/4, 1/8 and 1/16 of the size."""
        max_pool = MAX_POOL[x.ndim - 2]
        x = self.block1(x)
        pyramid: list[Tensor] = []
        for block in (self.block2, self.block3, self.block4, self.block5):
            x = block(max_pool(x, 2))
            pyramid.append(x)
        return pyramid


class BottleneckEncoder(nn.Module):
    """Separable convolution: depthwise cbr 3, then pointwise cbr 1."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.depthwise = ConvBNReLU(spatial_dims, channels, channels, 3, groups=channels)
        self.pointwise = ConvBNReLU(spatial_dims, channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) to the same shape."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class BottleneckDecoder(ConvBNReLU):
    """Linear ×2, then cbr 1 to half the channels."""

    def __init__(self, spatial_dims: int, in_channels: int) -> None:
        super().__init__(spatial_dims, in_channels, in_channels // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, in_channels / 2, *2 size)."""
        return super().forward(rescale(x, 1))


class Decoder(nn.Module):
    """Initial block, three bottleneck encoders, two bottleneck decoders, a transposed convolution and the classes."""

    def __init__(self, spatial_dims: int, channels: int, out_channels: int) -> None:
        super().__init__()
        self.initial = DoubleConv(spatial_dims, channels, channels)
        self.bottleneck_encoder1 = BottleneckEncoder(spatial_dims, channels)
        self.bottleneck_encoder2 = BottleneckEncoder(spatial_dims, channels)
        self.bottleneck_encoder3 = BottleneckEncoder(spatial_dims, channels)
        self.bottleneck_decoder1 = BottleneckDecoder(spatial_dims, channels)
        self.bottleneck_decoder2 = BottleneckDecoder(spatial_dims, channels // 2)
        width = channels // 4
        self.transposed_conv = TRANSPOSED_CONVOLUTION[spatial_dims](width, width, 2, stride=2, bias=False)
        self.transposed_bn = BATCH_NORM[spatial_dims](width)
        self.classes = CONVOLUTION[spatial_dims](width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *size) to logits of shape (batch, out_channels, *8 size)."""
        x = self.bottleneck_encoder3(self.bottleneck_encoder2(self.bottleneck_encoder1(self.initial(x))))
        x = self.bottleneck_decoder2(self.bottleneck_decoder1(x))
        logits: Tensor = self.classes(F.relu(self.transposed_bn(self.transposed_conv(x))))
        return logits


class SpineFusionNet(nn.Module):
    """The fracture network of the multi-scale feature fusion paper, with its six modules and their ablations.

    An image of any size comes back at its size: it is padded with edge values at the end of each axis to a multiple of
    16 and cropped back. A training step on one image needs more than 16 pixels along some axis.

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: Channels of the image, 1 for CT.
        out_channels: Channels of the logits.
        features: Widths of the contracting path's five blocks, such as 64, 128, 256, 512, 1024 (2D, the paper's) or
            16, 32, 64, 128, 256 (the small 3D form).
        without: Modules to leave out, one name or several of ffm, sem, aspp, rcbam, rbrab, lprab.

    Raises:
        ValueError: An argument has another type or range, or a name in `without` is unknown.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int],
        without: str | Iterable[str] = (),
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 (slices) or 3 (volumes), got {spatial_dims!r}")
        self.spatial_dims = spatial_dims
        self.in_channels = positive_integer("in_channels", in_channels)
        self.out_channels = positive_integer("out_channels", out_channels)
        self.features = channel_widths("features", features, count=5)
        self.without = known_names("without", without, MODULES)

        def unless_left_out(name: str, build: type[nn.Module], *arguments: int) -> nn.Module:
            return nn.Identity() if name in self.without else build(*arguments)

        self.encoder = ContractingPath(spatial_dims, in_channels, self.features)
        self.ffm = FeatureFusion(spatial_dims, self.features[1:], CHANNELS, exchange="ffm" not in self.without)
        self.sem = unless_left_out("sem", PyramidExcitation, CHANNELS)
        self.common_scale = CommonScale(spatial_dims, CHANNELS)
        self.aspp = unless_left_out("aspp", AtrousPyramidPooling, spatial_dims, CHANNELS)
        self.rcbam = unless_left_out("rcbam", ResidualConvolutionalAttention, spatial_dims, CHANNELS)
        self.rbrab = unless_left_out("rbrab", ResidualBorderRefinement, spatial_dims, CHANNELS)
        self.lprab = unless_left_out("lprab", LocalPositionAttention, spatial_dims, CHANNELS)
        self.decoder = Decoder(spatial_dims, CHANNELS, out_channels)

    def forward(self, x_bcs: Tensor) -> Tensor:
        """Segment images.

        Args:
            x_bcs: Images of shape (batch, in_channels, *size), `spatial_dims` spatial axes of any size.

        Returns:
            Logits of shape (batch, out_channels, *size).

        Raises:
            ValueError: Another shape, or a training batch too small for batch norm.
        """
        check_image("SpineFusionNet", x_bcs, self.spatial_dims, self.in_channels)
        padded = pad_to_multiple(x_bcs, STRIDE)
        if self.training:
            check_batch_statistics(padded, STRIDE)
        common = self.common_scale(self.sem(self.ffm(self.encoder(padded))))
        logits: Tensor = self.decoder(self.lprab(self.rbrab(self.rcbam(self.aspp(common)))))
        return crop_to_size(logits, x_bcs.shape[2:])
