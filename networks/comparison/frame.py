"""The frame of a comparison network: arguments and images are checked, any image size comes back at its size."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from radseg.networks.arguments import check_image, positive_integer
from radseg.networks.padding import crop_to_size, pad_to_multiple


class ComparisonNetwork(nn.Module, ABC):
    """A network built in this frame says its `stride` and computes `logits` of a padded image.

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: Channels of the image.
        out_channels: Channels of the logits.

    Raises:
        ValueError: An argument has another type or range.
    """

    stride: int  # pixels a side that become one at the coarsest level

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 (slices) or 3 (volumes), got {spatial_dims!r}")
        self.spatial_dims = spatial_dims
        self.in_channels = positive_integer("in_channels", in_channels)
        self.out_channels = positive_integer("out_channels", out_channels)

    def forward(self, x_bcs: Tensor) -> Tensor:
        """Segment images.

        Args:
            x_bcs: Images of shape (batch, in_channels, *size), `spatial_dims` spatial axes of any size.

        Returns:
            Logits of shape (batch, out_channels, *size).

        Raises:
            ValueError: Another shape, or a training batch too small for batch norm.
        """
        check_image(type(self).__name__, x_bcs, self.spatial_dims, self.in_channels)
        return crop_to_size(self.logits(pad_to_multiple(x_bcs, self.stride)), x_bcs.shape[2:])

    @abstractmethod
    def logits(self, x_bcs: Tensor) -> Tensor:
        """(batch, in_channels, *size) to (batch, out_channels, *size or more), sizes multiples of `stride`."""
