"""ResNet50 in its pre-activation form as an encoder: batch norm and ReLU come before every convolution.

The layers are those of image-classifiers 1.0.0 (`models/resnet.py`) up to `relu1`, the features those that
segmentation_models 1.0.1 takes: the first activation, the first one inside stages 2, 3 and 4, and the last.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import positive_integer
from radseg.networks.encoders.same_padding import Convention, Padding, choose_convention
from radseg.networks.encoders.shift_batch_norm import ShiftBatchNorm2d

KERAS = Convention("keras", bn_eps=2e-5, bn_momentum=0.01)


class BottleneckUnit(nn.Module):
    """1×1, 3×3 and 1×1 convolution, each behind batch norm and ReLU, added to a shortcut.

    Args:
        in_channels: Channels of the input.
        width: Channels between the convolutions; the output has four times as many.
        stride: Of the 3×3 convolution and the shortcut.
        projected: Whether the shortcut is a 1×1 convolution of the first activation rather than the input itself.
    """

    def __init__(self, in_channels: int, width: int, stride: int, projected: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels, KERAS.bn_eps, KERAS.bn_momentum)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, KERAS.bn_eps, KERAS.bn_momentum)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, KERAS.bn_eps, KERAS.bn_momentum)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.shortcut = nn.Conv2d(in_channels, 4 * width, 1, stride=stride, bias=False) if projected else None

    def forward(self, x_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """The first activation at the input's shape, and the output (batch, 4 · width, height / stride, …)."""
        activation = F.relu(self.bn1(x_bchw))
        y = F.relu(self.bn2(self.conv1(activation)))
        y = F.relu(self.bn3(self.conv2(y)))
        return activation, self.conv3(y) + (x_bchw if self.shortcut is None else self.shortcut(activation))


class ResNet50(nn.Module):
    """The convolutions of ResNet50 (He et al. 2016, identity mappings), their features at five scales.

    The image goes through a batch norm without gamma first.

    Args:
        in_channels: Channels of the image; ImageNet weights fit 3.
        padding: `keras`; torchvision's ResNet50 is another network, whose units activate behind the addition.

    Raises:
        ValueError: An argument has another type or value, `padding="torch"` included.
    """

    channels: tuple[int, ...] = (64, 256, 512, 1024, 2048)

    def __init__(self, in_channels: int = 3, padding: Padding = "keras") -> None:
        super().__init__()
        if padding == "torch":
            raise ValueError(
                "ResNet50 takes padding='keras' only: no torchvision weights fit, because its units activate before "
                "their convolutions; give the Keras weights"
            )
        choose_convention(padding, KERAS)
        self.bn_data = ShiftBatchNorm2d(positive_integer("in_channels", in_channels), KERAS.bn_eps, KERAS.bn_momentum)
        self.conv0 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn0 = nn.BatchNorm2d(64, KERAS.bn_eps, KERAS.bn_momentum)
        self.stage1 = _stage(64, 64, units=3, stride=1)
        self.stage2 = _stage(256, 128, units=4, stride=2)
        self.stage3 = _stage(512, 256, units=6, stride=2)
        self.stage4 = _stage(1024, 512, units=3, stride=2)
        self.bn1 = nn.BatchNorm2d(2048, KERAS.bn_eps, KERAS.bn_momentum)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")

    def forward(self, x_bchw: Tensor) -> list[Tensor]:
        """Extract features.

        Args:
            x_bchw: Images of shape (batch, in_channels, height, width), both sizes multiples of 32.

        Returns:
            Five maps with `channels` channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        x = F.relu(self.bn0(self.conv0(self.bn_data(x_bchw))))
        features = [x]
        # Keras pads with 0 here and torch with -inf: the same behind a ReLU.
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4):
            for name, unit in stage.items():
                activation, x = unit(x)
                if name == "unit1" and stage is not self.stage1:
                    features.append(activation)
        return [*features, F.relu(self.bn1(x))]


def _stage(in_channels: int, width: int, units: int, stride: int) -> nn.ModuleDict:
    first = {"unit1": BottleneckUnit(in_channels, width, stride, projected=True)}
    others = {f"unit{n}": BottleneckUnit(4 * width, width, 1, projected=False) for n in range(2, units + 1)}
    return nn.ModuleDict(first | others)
