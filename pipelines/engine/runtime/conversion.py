"""From a PyTorch network to an OpenVINO model of one fixed window, without a word to anybody's server.

OpenVINO's `convert_model` reports its use to Google Analytics. Its PyTorch frontend, which does the work, does not: it
is called here directly, on a traced graph, and nothing in the process has to be patched meanwhile.
"""

import threading
import warnings
from typing import Any

import torch
from torch import nn

from radseg.pipelines.engine.runtime.quiet_openvino import openvino_part

# tracing silences warnings, and their filters belong to the whole process
_tracing = threading.Lock()


def convert(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """An `openvino.Model` of `network`, in evaluation mode on the CPU, for inputs of exactly `shape`.

    It shares the network's weights, so it has to go before they change. Runs the network once.

    Raises:
        Exception: OpenVINO doesn't know one of the network's layers.
    """
    frontends = openvino_part("frontend").FrontEndManager()
    decoders = openvino_part("frontend.pytorch.ts_decoder")
    with _tracing, warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # sizes become constants and torch.jit is deprecated: both are known
        with torch.autocast("cpu", enabled=False):
            graph = torch.jit.trace(network, torch.zeros(shape), check_trace=False)  # type: ignore[no-untyped-call]
        frontend = frontends.load_by_framework("pytorch")
        decoder = decoders.TorchScriptPythonDecoder(graph)  # the frontend calls it until the model is done
        model = frontend.convert(frontend.load(decoder))
    if model.input(0).partial_shape.is_dynamic:
        model.reshape(list(shape))
    if len(model.inputs) != 1 or len(model.outputs) != 1 or model.output(0).partial_shape.is_dynamic:
        raise ValueError("its sizes aren't fixed by those of its input")
    return model
