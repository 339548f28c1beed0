"""CUDA: the network of one size of window captured once, then replayed without Python between its kernels."""

import threading
from collections.abc import Callable

import torch
from torch import nn

from radseg.pipelines.engine.runtime.base import Loaded, Runtime, out_of_memory
from radseg.pipelines.engine.runtime.eager import Eager
from radseg.pipelines.engine.runtime.precision import channels_last, computing_in, weights_channels_last

_CAPTURING = threading.Lock()  # a process can capture one graph at a time


class CudaGraph(Runtime):
    """The network as a CUDA graph for batches of one shape; smaller batches run with idle windows.

    Args:
        device: a CUDA device.
        precision: `exact` (float32 without TF32) or `fast` (bfloat16, or float16 on GPUs without it).
        note: told once when a network can't be captured and is run kernel by kernel instead.
    """

    name = "cuda"

    def __init__(self, device: torch.device, precision: str, note: Callable[[str], None]) -> None:
        super().__init__(device, precision)
        self._eager = Eager(device, precision)
        self._note = note
        self._lock = threading.Lock()

    def load(self, network: nn.Module, shape: tuple[int, ...]) -> Loaded:
        """Captures now; a network that can't be captured, such as one that looks at its values, runs eagerly.

        Raises:
            RuntimeError: the GPU's memory doesn't hold so many windows.
        """
        try:
            with _CAPTURING, self._lock, torch.cuda.device(self.device), torch.inference_mode(False), torch.no_grad():
                return self._capture(network, shape)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            self._note("the network can't be captured as a CUDA graph: it ran kernel by kernel")
            return self._eager.load(network, shape)

    def _capture(self, network: nn.Module, shape: tuple[int, ...]) -> Loaded:
        weights_channels_last(network, len(shape))
        batch = channels_last(torch.zeros(shape, device=self.device))
        # casts are part of the graph: one cached outside of it would be freed under it
        with computing_in(self.dtype, self.device, cache_casts=False):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):  # cuDNN chooses its algorithms now, which a capture doesn't allow
                    network(batch)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # other threads go on allocating meanwhile
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                answer: torch.Tensor = network(batch)

        def run(windows: torch.Tensor) -> torch.Tensor:
            # one stream, one lock: nothing comes between the copy in, the replay and the copy out
            with self._lock, torch.cuda.device(self.device), torch.inference_mode(False), torch.no_grad():
                batch[: len(windows)].copy_(windows, non_blocking=True)
                graph.replay()
                return answer[: len(windows)].to(torch.float32, memory_format=torch.contiguous_format, copy=True)

        return Loaded(run, most=shape[0])
