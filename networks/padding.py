"""Any image size through a network that halves its input: edge values added bottom and right, the output cropped."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last values of every spatial axis up to the next multiple.

    Args:
        x: Images of shape (batch, channels, *spatial), two or three spatial axes, each of at least one pixel.
        multiple: What every spatial size becomes a multiple of, in pixels.

    Returns:
        The padded images; `x` itself when there is nothing to add.
    """
    before_and_after: list[int] = []
    for size in reversed(x.shape[2:]):
        before_and_after += [0, -size % multiple]
    return F.pad(x, before_and_after, mode="replicate") if any(before_and_after) else x


def crop_to_size(x: Tensor, size: Sequence[int]) -> Tensor:
    """Undo `pad_to_multiple`: keep the first `size` pixels of each spatial axis."""
    for axis, length in enumerate(size, start=2):
        if x.shape[axis] != length:
            x = x.narrow(axis, 0, length)
    return x
