"""How numbers are computed with: float32 to the last bit, or 16 bits where the device is faster with them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def low_precision(device: torch.device) -> torch.dtype | None:
    """The 16-bit type that `device` computes in, None if it has no units for one."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None


@contextmanager
def computing_in(dtype: torch.dtype | None, device: torch.device, cache_casts: bool = True) -> Iterator[None]:
    """Autocast to `dtype`; None is float32 throughout, without TF32, whatever autocast the caller has on."""
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None, cache_enabled=cache_casts):
        if device.type != "cuda":
            yield
            return
        matmul = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=dtype is not None):
                yield
        finally:
            torch.set_float32_matmul_precision(matmul)


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """The same values with channels innermost in memory, which convolutions of a fixed network are fastest with."""
    layout = _CHANNELS_LAST.get(tensor.ndim)
    return tensor if layout is None else tensor.contiguous(memory_format=layout)


def weights_channels_last(network: nn.Module, dims: int) -> None:
    """Lays the weights of convolutions that see (batch, channels, *spatial) of `dims` axes out as `channels_last`."""
    for weight in network.parameters():
        if weight.ndim == dims:
            weight.data = channels_last(weight.data)
