"""A network together with what runs it: the one module that inferers call."""

import copy
import difflib
import re
import threading
from pathlib import Path

import torch
from monai.data import MetaTensor
from torch import nn

from radseg.pipelines.engine.device import pick_device
from radseg.pipelines.engine.runtime.base import Loaded, Runtime, RuntimeMissingError, out_of_memory
from radseg.pipelines.engine.runtime.compiled import Compiled
from radseg.pipelines.engine.runtime.cuda_graph import CudaGraph
from radseg.pipelines.engine.runtime.eager import Eager
from radseg.pipelines.engine.runtime.model_cache import ModelCache
from radseg.pipelines.engine.runtime.openvino_cpu import OpenVINO
from radseg.pipelines.errors import ConfigError, one_line

RUNTIMES = ("auto", "torch", "compiled", "openvino", "cuda")
PRECISIONS = ("exact", "fast")

Shape = tuple[int, ...]
_MOST_LOADED = 4  # sizes of window; each holds buffers of its own


class RuntimeNetwork(nn.Module):
    """Runs a network for inference, by the runtime that is fastest on the device.

    Stands wherever a network is called: in this package's inferers, in MONAI's, or named in a MONAI config. It loads
    what a size of window needs when the first one comes, and anew when the network's weights have changed since. A
    runtime that is missing, or that a layer is unknown to, is replaced by torch with a line in `notes`. Safe to share
    between threads. Answers carry no gradient; the network stays in evaluation mode.

    Args:
        network: maps (batch, channels, *window) to logits (batch, classes, *window); moved to `device`.
        runtime: `torch` (as it is), `compiled` (torch.compile), `openvino` (CPU only), `cuda` (a CUDA graph), or
            `auto`: cuda on a CUDA device, else openvino if it is installed, else torch.
        precision: `exact` computes in float32, `fast` in 16 bits where the device does that faster.
        device: auto, cpu, cuda, cuda:N or a torch device.
        cache_dir: where OpenVINO's conversions are kept; None is `~/.cache/radseg/runtime`.

    Attributes:
        runtime: the one that really runs: torch, compiled, openvino or cuda.
        notes: what was done otherwise than asked for, a line each.
        device: where it runs.

    Raises:
        ConfigError: a name isn't known, or the runtime doesn't go with the device.
    """

    def __init__(
        self,
        network: nn.Module,
        runtime: str = "auto",
        precision: str = "exact",
        device: str | torch.device = "cpu",
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        _known("runtime", runtime, RUNTIMES)
        self.precision = _known("precision", precision, PRECISIONS)
        self.device = pick_device(device)
        if runtime == "cuda" and self.device.type != "cuda":
            raise ConfigError(
                "runtime 'cuda' needs a CUDA device; use --runtime auto, or --device cuda where there is one"
            )
        if runtime == "openvino" and self.device.type != "cpu":
            raise ConfigError(f"runtime 'openvino' runs on the CPU, not on {self.device}; use --device cpu")
        self.notes: list[str] = []
        self.network = network.to(self.device).eval()
        self._cache = ModelCache(cache_dir, self._note)
        self._lock = threading.Lock()
        self._threads = torch.get_num_threads()  # of all that share the network, not of whichever thread loads it
        self._loaded: dict[Shape, Loaded] = {}
        self._weights: object = None
        self._runs_on = self._choose(runtime)

    @property
    def runtime(self) -> str:
        """The runtime that really runs: torch, compiled, openvino or cuda."""
        return self._runs_on.name

    def train(self, mode: bool = True) -> "RuntimeNetwork":
        """Stays in evaluation mode: this is for inference."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes, *window), float32, on `device`, of windows (batch, channels, *window) on any."""
        windows = x.as_tensor() if isinstance(x, MetaTensor) else x
        loaded = self._load(windows)
        try:
            return loaded.run(windows)
        except RuntimeError as error:
            if out_of_memory(error):  # fewer windows at once must not be filled up to as many again
                with self._lock:
                    self._loaded = {shape: other for shape, other in self._loaded.items() if other is not loaded}
            raise

    def fall_back_to_cpu(self) -> None:
        """Leaves a GPU whose memory ran out for good; nothing happens on the CPU."""
        with self._lock:
            if self.device.type == "cpu":
                return
            self._loaded = {}
            self.network = _on_cpu(self.network)
            self.device = torch.device("cpu")
            self._runs_on = self._choose("auto")
            self._note("out of GPU memory: went on on the CPU")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _choose(self, runtime: str) -> Runtime:
        if runtime == "auto":
            runtime = "cuda" if self.device.type == "cuda" else "openvino"
        if runtime == "openvino" and not OpenVINO.installed():
            self._note("openvino is not installed: torch ran the network")
            runtime = "torch"
        if runtime == "openvino":
            return OpenVINO(self.device, self.precision, self._cache, self._threads)
        if runtime == "cuda":
            return CudaGraph(self.device, self.precision, self._note)
        if runtime == "compiled":
            return Compiled(self.device, self.precision)
        return Eager(self.device, self.precision)

    def _load(self, windows: torch.Tensor) -> Loaded:
        size = tuple(windows.shape[1:])
        with self._lock:
            if self.network.training:  # whoever trains the same network switched it
                self.network.eval()
            if self._weights != (now := _state(self.network)):
                self._loaded, self._weights = {}, now
            found = self._loaded.pop(size, None)
            if found is None or not found.takes(len(windows)):
                found = self._load_in_memory(windows)
                self._weights = _state(self.network)  # which loading may have laid out anew
            self._loaded[size] = found  # the one used last at the end
            for oldest in list(self._loaded)[:-_MOST_LOADED]:
                del self._loaded[oldest]
        return found

    def _load_in_memory(self, windows: torch.Tensor) -> Loaded:
        """Loads for a size of window; other sizes make room if they must."""
        try:
            return self._load_or_fall_back(windows)
        except RuntimeError as error:
            if not self._loaded or not out_of_memory(error):
                raise
        self._loaded = {}
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._load_or_fall_back(windows)

    def _load_or_fall_back(self, windows: torch.Tensor) -> Loaded:
        try:
            return self._runs_on.load(self.network, tuple(windows.shape))
        except RuntimeMissingError as error:
            reason = str(error)
        except Exception as error:
            if self._runs_on.name == "torch" or out_of_memory(error):
                raise
            told = re.sub(r"\S*[/\\]\S+", "…", one_line(error))[:160]  # paths may name a user
            reason = f"{self._runs_on.name} can't run the network ({told})"
        torch_itself = Eager(self.device, self.precision)
        loaded = torch_itself.load(self.network, tuple(windows.shape))
        loaded.run(windows[:1])  # torch's own error, if it can't run this either
        self._runs_on, self._loaded = torch_itself, {}
        self._note(f"{reason}: torch ran it instead")
        return loaded

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


def _known(what: str, name: str, names: tuple[str, ...]) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise ConfigError(f"no {what} {name!r}: {hint}")


def _state(network: nn.Module) -> list[tuple[int, int, int]]:
    """What changes when a weight does: which tensors there are, where their values lie, how often they were written."""
    tensors = [*network.parameters(), *network.buffers()]
    return [(id(each), each.data_ptr(), 0 if each.is_inference() else each._version) for each in tensors]


def _on_cpu(network: nn.Module) -> nn.Module:
    """A copy on the CPU; threads that are still at work on the GPU keep theirs."""
    memo: dict[int, object] = {
        id(weight): nn.Parameter(weight.detach().cpu().clone(), requires_grad=weight.requires_grad)
        for weight in network.parameters()
    }
    memo.update((id(buffer), buffer.detach().cpu().clone()) for buffer in network.buffers())
    return copy.deepcopy(network, memo)
