"""EncoderUNet: a U-Net decoder on one of six ImageNet encoders, for the pelvic bones in X-rays.

The network is that of the Keras library segmentation_models 1.0.1 with its defaults, which the paper used, to the
parameter. Shapes: b batch, c channels, h height, w width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radseg.networks.arguments import check_batch_statistics, check_image, known_names, positive_integer
from radseg.networks.blocks import DoubleConv
from radseg.networks.encoders import ENCODERS, VGG16
from radseg.networks.encoders.same_padding import Padding
from radseg.networks.padding import crop_to_size, pad_to_multiple

DECODER_CHANNELS = (256, 128, 64, 32, 16)
FORM_MARK = "torch_padding"
STRIDE = 32  # pixels a side that become one at the bottom of every encoder


class KerasDoubleConv(DoubleConv):
    """Two [3×3 convolution without bias, batch norm, ReLU] with Keras' batch-norm defaults and He initialisation."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(2, in_channels, out_channels)
        for bn in (self.bn1, self.bn2):
            bn.eps, bn.momentum = 1e-3, 0.01  # Keras: epsilon 0.001, momentum 0.99
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")


class DecoderStage(KerasDoubleConv):
    """Nearest-neighbour ×2, the skip beside it where there is one, then the double convolution.

    Args:
        coarse_channels: Channels of the coarser features.
        skip_channels: Channels of the skip, 0 for none.
        out_channels: Channels of the output.
    """

    def __init__(self, coarse_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__(coarse_channels + skip_channels, out_channels)

    def forward(self, coarse_bchw: Tensor, skip: Tensor | None = None) -> Tensor:
        """Features (batch, c, h, w) and skip (batch, c', 2h, 2w) to (batch, out_channels, 2h, 2w)."""
        x = F.interpolate(coarse_bchw, scale_factor=2.0, mode="nearest")
        return super().forward(x if skip is None else torch.cat([x, skip], dim=1))


class EncoderUNet(nn.Module):
    """The pelvic bone network: six encoders, one decoder of five stages.

    An image of any size comes back at its size: it is padded with edge values at bottom and right to a multiple of 32
    and cropped back. A training step on one image needs more than 32 pixels along one side. The stage at full
    resolution has no skip. VGG16, whose bottom is a max-pool, alone has a double convolution between it and the
    decoder (`center`).

    Args:
        encoder: inceptionv3, vgg16, resnet50, densenet121, efficientnetb3 or mobilenetv2.
        in_channels: Channels of the image: 3 for ImageNet weights, a grey X-ray repeated.
        out_channels: Channels of the logits.
        padding: The form of the encoder: "keras" as in the paper, "torch" for encoder weights trained by torchvision,
            whose convolutions of stride 2 pad all sides alike and whose batch norms have another eps.

    Raises:
        ValueError: The encoder is unknown, an argument has another type or range, or `padding` is "torch" for an
            encoder that no torchvision weights fit.
    """

    def __init__(
        self,
        encoder: str = "densenet121",
        in_channels: int = 3,
        out_channels: int = 1,
        *,
        padding: Padding = "keras",
    ) -> None:
        super().__init__()
        (name,) = known_names("encoder", [str(encoder)], tuple(ENCODERS))
        self.in_channels = positive_integer("in_channels", in_channels)
        self.out_channels = positive_integer("out_channels", out_channels)
        self.encoder_name, self.padding = name, padding
        if padding == "torch":  # of no size: a name in the state dict, so that weights of one form never fit the other
            self.register_buffer(FORM_MARK, torch.empty(0))
        self.encoder = ENCODERS[name](self.in_channels, padding)
        *skips, bottom = self.encoder.channels
        self.center = KerasDoubleConv(bottom, bottom) if isinstance(self.encoder, VGG16) else nn.Identity()
        self.decoder = nn.ModuleDict()
        coarse = bottom
        for number, (skip, width) in enumerate(zip([*reversed(skips), 0], DECODER_CHANNELS, strict=True), start=1):
            self.decoder[f"stage{number}"] = DecoderStage(coarse, skip, width)
            coarse = width
        self.head = nn.Conv2d(coarse, self.out_channels, 3, padding=1)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Segment X-rays.

        Args:
            x_bchw: Images of shape (batch, in_channels, height, width), any height and width, normalised as the
                encoder's weights expect.

        Returns:
            Logits of shape (batch, out_channels, height, width).

        Raises:
            ValueError: Another shape, or a training batch too small for batch norm.
        """
        check_image("EncoderUNet", x_bchw, 2, self.in_channels)
        x = pad_to_multiple(x_bchw, STRIDE)
        if self.training:
            check_batch_statistics(x, STRIDE)
        *skips, x = self.encoder(x)
        x = self.center(x)
        for stage, skip in zip(self.decoder.values(), [*reversed(skips), None], strict=True):
            x = stage(x, skip)
        logits: Tensor = self.head(x)
        return crop_to_size(logits, x_bchw.shape[2:])
