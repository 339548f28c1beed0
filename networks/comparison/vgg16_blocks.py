"""VGG16's five blocks of 3×3 convolutions (Simonyan & Zisserman 2015, configuration D), in 2D and 3D."""

from collections.abc import Sequence

from torch import Tensor, nn

from radseg.networks.blocks import CONVOLUTION, MAX_POOL

CONVOLUTIONS = (2, 2, 3, 3, 3)
WIDTHS = (64, 128, 256, 512, 512)


class VGG16Blocks(nn.Module):
    """VGG16 without its classifier, for slices and volumes; no batch norm.

    In 2D with `WIDTHS`, keys and shapes are those of the ImageNet encoder `radseg.networks.encoders.VGG16`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        features: Widths of the five blocks.
    """

    def __init__(self, spatial_dims: int, in_channels: int, features: Sequence[int]) -> None:
        super().__init__()
        finer = (in_channels, *features[:-1])
        self.block1, self.block2, self.block3, self.block4, self.block5 = (
            _block(spatial_dims, before, width, count)
            for before, width, count in zip(finer, features, CONVOLUTIONS, strict=True)
        )

    def forward(self, x_bcs: Tensor) -> list[Tensor]:
        """Extract features.

        Args:
            x_bcs: Images of shape (batch, in_channels, *size), sizes multiples of 32.

        Returns:
            The five max-pools at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        max_pool = MAX_POOL[x_bcs.ndim - 2]
        pools: list[Tensor] = []
        x = x_bcs
        for block in (self.block1, self.block2, self.block3, self.block4, self.block5):
            x = max_pool(block(x), 2)
            pools.append(x)
        return pools


def he_convolution(spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d | nn.Conv3d:
    """A convolution of odd kernel size with bias that keeps the image size, initialised for a ReLU behind it."""
    conv = CONVOLUTION[spatial_dims](in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    # torch's default would shrink the signal to nothing over thirteen layers without batch norm.
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _block(spatial_dims: int, in_channels: int, width: int, count: int) -> nn.Sequential:
    block = nn.Sequential()
    for number in range(1, count + 1):
        block.add_module(f"conv{number}", he_convolution(spatial_dims, in_channels, width, 3))
        block.add_module(f"relu{number}", nn.ReLU())
        in_channels = width
    return block
