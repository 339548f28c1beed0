"""DenseNet121 as an encoder: the features of MONAI's network, tapped before each average-pool.

The layers are those of keras-applications 1.0.8 up to `relu`, the features those that segmentation_models 1.0.1 takes:
the first activation, the convolution of each transition, and the last batch norm's activation.
"""

from monai.networks.nets.densenet import DenseNet
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import positive_integer
from radseg.networks.encoders.same_padding import Convention, Padding, choose_convention

KERAS = Convention("keras", bn_eps=1.001e-5, bn_momentum=0.01)
TORCH = Convention("torch", bn_eps=1e-5, bn_momentum=0.1)


class DenseNet121(nn.Module):
    """The convolutions of DenseNet121 (Huang et al. 2017), their features at five scales.

    Args:
        in_channels: Channels of the image; ImageNet weights fit 3.
        padding: `keras` for the published Keras weights; `torch` for torchvision's, which were trained with the same
            symmetric padding and another batch norm. Parameters have the same names and shapes in both.

    Raises:
        ValueError: An argument has another type or value.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)

    def __init__(self, in_channels: int = 3, padding: Padding = "keras") -> None:
        super().__init__()
        convention = choose_convention(padding, KERAS, TORCH)
        self.features: nn.Sequential = DenseNet(
            spatial_dims=2,
            in_channels=positive_integer("in_channels", in_channels),
            out_channels=1,
            act=("relu", {"inplace": False}),  # a gradient hook on a layer needs its output untouched
            norm=("batch", {"eps": convention.bn_eps, "momentum": convention.bn_momentum}),
        ).features
        for level in (1, 2, 3):
            self.features.get_submodule(f"transition{level}").pool = nn.Identity()  # forward pools, behind the tap

    def forward(self, x_bchw: Tensor) -> list[Tensor]:
        """Extract features.

        Args:
            x_bchw: Images of shape (batch, in_channels, height, width), both sizes multiples of 32.

        Returns:
            Five maps with `channels` channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        layer = self.features.get_submodule
        features: list[Tensor] = [layer("relu0")(layer("norm0")(layer("conv0")(x_bchw)))]
        x = layer("pool0")(features[0])
        for level in (1, 2, 3):
            features.append(layer(f"transition{level}")(layer(f"denseblock{level}")(x)))
            x = F.avg_pool2d(features[-1], 2)
        return [*features, F.relu(layer("norm5")(layer("denseblock4")(x)))]
