"""VGG16 as an encoder: five blocks of 3×3 convolutions with a max-pool after each, no batch norm.

The layers are those of keras-applications 1.0.8 up to `block5_pool`, the features those that segmentation_models 1.0.1
takes: the ends of blocks 2 to 5, and the last max-pool.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import known_names, positive_integer
from radseg.networks.encoders.same_padding import Padding


class VGG16(nn.Module):
    """The convolutions of VGG16 (Simonyan & Zisserman 2015, configuration D), their features at five scales.

    Args:
        in_channels: Channels of the image; ImageNet weights fit 3.
        padding: `keras` or `torch`, which are one here: every convolution has stride 1, and there is no batch norm.

    Raises:
        ValueError: An argument has another type or value.
    """

    channels: tuple[int, ...] = (128, 256, 512, 512, 512)

    def __init__(self, in_channels: int = 3, padding: Padding = "keras") -> None:
        super().__init__()
        known_names("padding", padding, ("keras", "torch"))
        self.block1 = _block(positive_integer("in_channels", in_channels), 64, convolutions=2)
        self.block2 = _block(64, 128, convolutions=2)
        self.block3 = _block(128, 256, convolutions=3)
        self.block4 = _block(256, 512, convolutions=3)
        self.block5 = _block(512, 512, convolutions=3)

    def forward(self, x_bchw: Tensor) -> list[Tensor]:
        """Extract features.

        Args:
            x_bchw: Images of shape (batch, in_channels, height, width), both sizes multiples of 32.

        Returns:
            Five maps with `channels` channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        x = self.block1(x_bchw)
        features: list[Tensor] = []
        for block in (self.block2, self.block3, self.block4, self.block5):
            x = block(F.max_pool2d(x, 2))
            features.append(x)
        return [*features, F.max_pool2d(x, 2)]


def _block(in_channels: int, channels: int, convolutions: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, convolutions + 1):
        conv = nn.Conv2d(in_channels if number == 1 else channels, channels, 3, padding=1)
        # torch's default would shrink the signal to nothing over thirteen layers without batch norm.
        nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        layers[f"conv{number}"] = conv
        layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers)
