"""What the encoders of inverted residuals share: a stem, blocks that also give their expanded features, a top."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class InvertedResidualEncoder(nn.Module, ABC):
    """The way through an encoder whose blocks return (expanded features, output), the taps in front of each stride.

    A subclass makes `stem`, `blocks` and `top`, and says its activation.
    """

    stem: nn.Module
    blocks: nn.ModuleList
    top: nn.Module

    @abstractmethod
    def activate(self, x_bchw: Tensor) -> Tensor:
        """Apply the activation that follows the stem and the top."""

    def forward(self, x_bchw: Tensor) -> list[Tensor]:
        """Extract features.

        Args:
            x_bchw: Images of shape (batch, in_channels, height, width), both sizes multiples of 32.

        Returns:
            Five maps with `channels` channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        features: list[Tensor] = []
        x = self.activate(self.stem(x_bchw))
        for block in self.blocks:
            expanded, x = block(x)
            if block.stride == 2:
                features.append(expanded)
        features.append(self.activate(self.top(x)))
        return features
