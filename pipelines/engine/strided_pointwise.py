"""Strided convolutions of a single tap over channels-last maps, whose gradient crashes torch on a CPU."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode


class StridedPointwise(TorchFunctionMode):
    """While this mode is entered, a 1 × 1 `conv2d` with a stride takes the pixels that it sees out of its input first.

    Nothing else of the input counts, so the result is the same. The float32 gradient of torch 2.13 for channels-last
    maps of 4 or 8 channels is a segmentation fault otherwise. Maps in torch's own layout are left alone.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls `func`, with a thinned input and no stride when it is such a convolution."""
        options = dict(kwargs or {})
        if func is torch.conv2d:
            return _convolution(*args, **options)
        return func(*args, **options)


def _convolution(
    x_bchw: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    *others: Any,
    **more: Any,
) -> Tensor:
    rows, columns = _pair(stride)
    pointwise = tuple(weight.shape[2:]) == (1, 1) and _pair(padding) == (0, 0) and (rows, columns) != (1, 1)
    if pointwise and not x_bchw.is_contiguous() and x_bchw.is_contiguous(memory_format=torch.channels_last):
        seen = x_bchw[:, :, ::rows, ::columns].contiguous(memory_format=torch.channels_last)
        return torch.conv2d(seen, weight, bias, 1, 0, *others, **more)
    return torch.conv2d(x_bchw, weight, bias, stride, padding, *others, **more)
