"""Convolutions of maps one or two voxels wide in full precision, where bfloat16 gives wrong gradients on a CPU."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (torch.conv2d, torch.conv3d)


class FullPrecisionOnTinyMaps(TorchFunctionMode):
    """While this mode is entered, `conv2d` and `conv3d` of a map with a side of 1 or 2 leave autocast for float32.

    The weight gradient that oneDNN computes in bfloat16 for such maps reads memory that nothing has written: it is off
    by its own size, or not finite (seen on torch 2.13 with AVX-512 BF16, for 3 × 3 × 3 kernels over sides of 2 and
    strides of 2 over sides of 1). A deep encoder's last level is such a map when the window is small; computing it in
    float32 costs next to nothing.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls `func`, in float32 when it is a convolution of a tiny map."""
        if func in CONVOLUTIONS and min(args[0].shape[2:]) <= 2:
            with torch.autocast(args[0].device.type, enabled=False):
                return func(args[0].float(), *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))
