"""The network of a pack as TorchScript, ONNX and OpenVINO IR: `python -m radseg.pipelines.pack.exports FOLDER FORM…`.

A process of its own makes them, since the names that torch and OpenVINO give depend on what a process did before, and
the same pack has to have the same bytes.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import save_net_with_metadata
from torch import Tensor, nn

from radseg.bundles import configs
from radseg.pipelines.bundle_loader import load_workflow, read_json
from radseg.pipelines.engine.runtime.conversion import convert
from radseg.pipelines.engine.runtime.quiet_openvino import openvino, openvino_core
from radseg.pipelines.errors import ConfigError, RadsegError, one_line
from radseg.pipelines.weights import load_weights

FORMS = {"torchscript": ("model.ts",), "onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
TOLERANCE = 1e-3
"""How far an export's logits may be from the network's, of the largest logit; float32 sums in another order."""
_WITH_PATHS_OR_INPUTS = (".debug_pkl", "traced_inputs/", "traced_inputs.pkl")
_WRITTEN_BY_TORCH = ("version", "byteorder", ".data/serialization_id")


def export(folder: Path, forms: Iterable[str]) -> list[str]:
    """Writes a packed folder's network in the given forms beside its models/model.pt; gives the files' names.

    Raises:
        ConfigError: a form needs a package that isn't installed, the metadata gives no fixed size, or the network
            can't be brought to a form.
    """
    wanted = [form for form in FORMS if form in set(forms)]
    if not wanted:
        return []
    command = [sys.executable, "-m", "radseg.pipelines.pack.exports", str(folder), *wanted]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        said = ended.stderr.strip().splitlines()
        raise ConfigError(said[-1] if said else f"{folder.name}: exporting the network ended with {ended.returncode}")
    return [file for form in wanted for file in FORMS[form]]


def write_exports(folder: Path, forms: Sequence[str]) -> None:
    """What `export` has another process do; errors as there."""
    about = read_json(configs(folder) / "metadata.json")
    network: nn.Module = load_workflow(folder, "inference", {}, True).parser.get_parsed_content("network_def")
    load_weights(network, folder / "models" / "model.pt", folder).eval()
    network.requires_grad_(False)
    image = _image(about)
    expected = network(image)
    writers: dict[str, Callable[[nn.Module, Tensor, Path], Callable[[Tensor], Tensor]]] = {
        "torchscript": _write_torchscript,
        "onnx": _write_onnx,
        "openvino": _write_openvino,
    }
    for form in forms:
        file = folder / "models" / FORMS[form][0]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # sizes become constants, torch.jit and its ONNX writer are deprecated
                got = writers[form](network, image, file)(image)
        except ImportError as error:
            raise ConfigError(f"{form}: the package {error.name or 'needed'!r} is missing: pip install it") from error
        except Exception as error:
            raise ConfigError(f"{folder.name}: its network can't be brought to {form}: {one_line(error)}") from error
        away = (got - expected).abs().max().item()
        if not away <= TOLERANCE * max(1.0, expected.abs().max().item()):
            raise ConfigError(f"{folder.name}: as {form} its logits are {away:.2g} away from the network's")


def _image(about: dict[str, Any]) -> Tensor:
    """An input of noise, always the same, of the size in metadata.json."""
    says = about["network_data_format"]["inputs"]["image"]
    size = [1, says["num_channels"], *says["spatial_shape"]]
    if not all(type(number) is int and number > 0 for number in size):
        raise ConfigError(f"metadata.json: spatial_shape {says['spatial_shape']} must be whole numbers for an export")
    return torch.rand(size, generator=torch.Generator().manual_seed(0))


def _write_torchscript(network: nn.Module, image: Tensor, file: Path) -> Callable[[Tensor], Tensor]:
    """As MONAI's `ckpt_export --use_trace` writes it, less what tells of this machine: source paths, the input."""
    traced = torch.jit.trace(network, torch.zeros_like(image), check_trace=False)  # type: ignore[no-untyped-call]
    inner = configs(file.parents[1])
    about = json.loads((inner / "metadata.json").read_text(encoding="utf-8"))
    extra = {"inference.json": json.dumps(json.loads((inner / "inference.json").read_text(encoding="utf-8"))).encode()}
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / file.name
        save_net_with_metadata(
            traced, str(whole), include_config_vals=False, append_timestamp=False, meta_values=about,
            more_extra_files=extra,
        )  # fmt: skip
        reader = torch._C.PyTorchFileReader(str(whole))
        writer = torch._C.PyTorchFileWriter(str(file))
        for record in sorted(reader.get_all_records()):
            if record not in _WRITTEN_BY_TORCH and not any(part in record for part in _WITH_PATHS_OR_INPUTS):
                content = reader.get_record(record)
                writer.write_record(record, content, len(content))
        writer.write_end_of_file()
    loaded: Callable[[Tensor], Tensor] = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded


def _write_onnx(network: nn.Module, image: Tensor, file: Path) -> Callable[[Tensor], Tensor]:
    """By the exporter of traced graphs: the newer one takes five times as long and writes the paths of sources."""
    import onnx

    torch.onnx.export(
        network, (torch.zeros_like(image),), str(file), dynamo=False, external_data=False,
        input_names=["image"], output_names=["pred"],
    )  # fmt: skip
    model = onnx.load(file)
    _make_float32(model.graph)
    onnx.checker.check_model(model, full_check=True)
    file.write_bytes(model.SerializeToString(deterministic=True))
    return _run_by_openvino(openvino_core().read_model(file))


def _make_float32(graph: Any) -> None:
    """Makes the float64 numbers of an ONNX graph float32, as the network has them.

    The exporter takes a tensor filled with a Python number for float64, and with it all that comes after.
    """
    from onnx import TensorProto, numpy_helper

    constants = [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in (*graph.initializer, *constants):
        if tensor.data_type == TensorProto.DOUBLE:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
    for value in (*graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = TensorProto.FLOAT


def _write_openvino(network: nn.Module, image: Tensor, file: Path) -> Callable[[Tensor], Tensor]:
    """In float32, with names that don't depend on how many models the process made."""
    model = convert(network, tuple(image.shape))
    model.set_friendly_name("network")
    for number, layer in enumerate(model.get_ordered_ops()):
        layer.set_friendly_name(f"{layer.get_type_name()}_{number}")
    model.input(0).get_tensor().set_names({"image"})
    model.output(0).get_tensor().set_names({"pred"})
    openvino().save_model(model, file, compress_to_fp16=False)
    return _run_by_openvino(openvino_core().read_model(file))


def _run_by_openvino(model: Any) -> Callable[[Tensor], Tensor]:
    compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: torch.from_numpy(compiled([image.numpy()])[0].copy())


def main(arguments: Sequence[str]) -> int:
    """The command; a trouble is its last line on standard error."""
    try:
        write_exports(Path(arguments[0]), arguments[1:])
    except RadsegError as error:
        sys.stderr.write(f"\n{one_line(error)}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
