"""Batch norm as Keras has it with `scale=False`: InceptionV3's everywhere and ResNet50's first."""

from torch import nn


class ShiftBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with a shift (beta) and no scale (gamma): Keras' `scale=False`."""

    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.register_parameter("weight", None)  # not affine=False, by which SyncBatchNorm would drop the bias too

    def reset_parameters(self) -> None:
        """Statistics and shift back to those of a new layer."""
        self.reset_running_stats()
        nn.init.zeros_(self.bias)
