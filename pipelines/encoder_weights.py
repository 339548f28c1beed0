"""ImageNet weights for the encoder of an `EncoderUNet`: published Keras .h5 files and torchvision state dicts.

Nothing is downloaded and nothing is unpickled. ``encoder_tables/<encoder>.json`` lists, in the order of the Keras file,
every tensor: our name, the Keras layer and the tensor's role in it, and torchvision's name where it has that network.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import NoReturn

import h5py
import numpy as np
import torch

from radseg.networks.encoder_unet import EncoderUNet
from radseg.pipelines.errors import WeightsError
from radseg.pipelines.io.store.local_copy import local_copy

TABLES = Path(__file__).parent / "encoder_tables"
KERAS_FILES = {
    "vgg16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 of keras-applications",
    "resnet50": "resnet50_imagenet_1000_no_top.h5 of image-classifiers",
    "densenet121": "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5 of keras-applications",
    "inceptionv3": "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5 of keras-applications",
    "efficientnetb3": "efficientnet-b3_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5 of efficientnet",
    "mobilenetv2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5 of keras-applications",
}
NO_TORCHVISION = {
    "resnet50": "torchvision's activates after adding, this one before (image-classifiers)",
    "inceptionv3": "torchvision's has a stem without padding and batch norms with a scale",
}
TORCHVISION_NAMES = {
    "vgg16": "vgg16",
    "densenet121": "densenet121",
    "efficientnetb3": "efficientnet_b3",
    "mobilenetv2": "mobilenet_v2",
}
# roles of newer files; the oldest call them W and b, and are read by position
KERAS_ROLES = frozenset({"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"})
# torchvision files before 2018 say denselayer1.norm.1 for denselayer1.norm1
OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class EncoderTensor:
    """One line of an encoder's table.

    Attributes:
        name: In the state dict of the encoder.
        layer: Keras layer.
        role: What it is in that layer: kernel, depthwise_kernel, bias, gamma, beta, moving_mean or moving_variance.
        torchvision: In torchvision's state dict; None where torchvision has another network.
    """

    name: str
    layer: str
    role: str
    torchvision: str | None = None


def encoder_table(encoder: str) -> tuple[EncoderTensor, ...]:
    """Every tensor of an encoder but the counters of batches, in the order of the published Keras file."""
    return tuple(EncoderTensor(*line) for line in json.loads((TABLES / f"{encoder}.json").read_text()))


def load_encoder(network: EncoderUNet, file: Path | str | None) -> EncoderUNet:
    """Fill the encoder of `network` with ImageNet weights; every tensor is checked before the first is copied.

    Args:
        network: Takes images of three channels and was built with the padding of the file: "keras" for Keras files,
            "torch" for torchvision's. Its decoder stays as it is.
        file: A Keras HDF5 weights file of the classification model, with or without its top, or a torchvision state
            dict, or the URL of one; None returns the network untouched.

    Returns:
        The network.

    Raises:
        WeightsError: The file is missing, damaged, of another network or of the other padding; the message names the
            file, the tensor and the remedy.
    """
    if file is None:
        return network
    file = local_copy(file)
    encoder = network.encoder_name
    if not file.is_file():
        raise WeightsError(f"{file}: no such weights file; {encoder} takes {KERAS_FILES[encoder]}")
    if network.in_channels != 3:
        raise WeightsError(
            f"{file}: ImageNet weights fit three channels, this network takes {network.in_channels}: "
            "set in_channels to 3 and repeat the grey image, or leave the weights out"
        )
    table = encoder_table(encoder)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.encoder.state_dict().items()}
    if h5py.is_hdf5(file):
        if network.padding != "keras":
            _refuse_padding(file, "a Keras file", "--encoder_padding keras")
        tensors = _read_keras(file, encoder, table, shapes)
    else:
        state = _read_state_dict(file)
        if encoder in NO_TORCHVISION:
            raise WeightsError(
                f"{file}: no torchvision weights fit {encoder}: {NO_TORCHVISION[encoder]}; give {KERAS_FILES[encoder]}"
            )
        if network.padding != "torch":
            _refuse_padding(file, "a PyTorch file", "--encoder_padding torch")
        tensors = _pick_torchvision(file, encoder, state, table, shapes)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{file}: tensor of {name!r} holds values that aren't numbers: fetch the file again")
    network.encoder.load_state_dict(tensors, strict=False)  # not strict: the counters of batches are ours
    return network


def _refuse_padding(file: Path, kind: str, remedy: str) -> NoReturn:
    raise WeightsError(
        f"{file}: {kind} was trained with another padding, batch norm and normalisation than this network has: "
        f"build it with {remedy}"
    )


def _read_keras(file: Path, encoder: str, table: Iterable[EncoderTensor], shapes: Shapes) -> dict[str, torch.Tensor]:
    wanted: dict[str, list[EncoderTensor]] = {}
    for line in table:
        wanted.setdefault(line.layer, []).append(line)
    try:
        with h5py.File(file, "r") as content:
            layers = _layers_with_weights(file, content)
            tensors: dict[str, torch.Tensor] = {}
            for stored, lines in _match(file, encoder, wanted, list(layers)):
                tensors |= _read_layer(file, stored, layers[stored], lines, shapes)
            return tensors
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file}: damaged HDF5 file ({type(error).__name__}): fetch it again") from error


def _layers_with_weights(file: Path, content: h5py.File) -> dict[str, dict[str, h5py.Dataset]]:
    """Datasets of each layer by name, both in the file's order; classifiers (dense layers) left out."""
    # `save` puts the weights one group down, `save_weights` doesn't
    root = content.get("model_weights", content)
    if not any(name.startswith("layer_names") for name in root.attrs):
        raise WeightsError(
            f"{file}: holds no Keras layers (attribute 'layer_names' is missing): write it with save_weights as .h5"
        )
    layers: dict[str, dict[str, h5py.Dataset]] = {}
    for layer in _names(root.attrs, "layer_names"):
        datasets: dict[str, h5py.Dataset] = {}
        for name in _names(root[layer].attrs, "weight_names"):
            if name not in root[layer]:
                raise WeightsError(f"{file}: tensor {name!r} of layer {layer!r} is missing: fetch the file again")
            datasets[name] = root[layer][name]
        if datasets and next(iter(datasets.values())).ndim != 2:
            layers[layer] = datasets
    return layers


def _names(attributes: Mapping[str, Iterable[bytes | str]], name: str) -> list[str]:
    """A list of names, which Keras splits into <name>0, <name>1 and so on when it is long."""
    parts = [name] if name in attributes else takewhile(attributes.__contains__, (f"{name}{n}" for n in count()))
    return [text.decode() if isinstance(text, bytes) else str(text) for part in parts for text in attributes[part]]


def _match(
    file: Path, encoder: str, wanted: dict[str, list[EncoderTensor]], stored: list[str]
) -> Iterator[tuple[str, list[EncoderTensor]]]:
    """Pair the file's layers with the table's: by name, else by order as Keras does.

    Names with running numbers (conv2d_17) depend on what was built before in the session that wrote the file, and
    names changed between releases; the order is that of the layers in the network.
    """
    if set(stored) == set(wanted):
        return iter((layer, wanted[layer]) for layer in stored)
    if len(stored) == len(wanted):
        return zip(stored, wanted.values(), strict=True)
    missing = [layer for layer in wanted if layer not in stored]
    extra = [layer for layer in stored if layer not in wanted]
    if missing and len(missing) < len(wanted):
        found = f"layer {missing[0]!r} is missing (tensor {wanted[missing[0]][0].role!r})"
    elif extra and not missing:
        found = f"layer {extra[0]!r} is unknown"
    else:
        found = f"holds {len(stored)} layers with weights, {len(wanted)} wanted"
    raise WeightsError(f"{file}: {found}: weights of another network; {encoder} takes {KERAS_FILES[encoder]}")


def _read_layer(
    file: Path, layer: str, datasets: dict[str, h5py.Dataset], lines: list[EncoderTensor], shapes: Shapes
) -> dict[str, torch.Tensor]:
    roles = [_role(name) for name in datasets]
    wanted = [line.role.removeprefix("depthwise_") for line in lines]
    if len(roles) != len(wanted) or (set(roles) != set(wanted) and KERAS_ROLES & set(roles)):
        odd = next((role for role in wanted if role not in roles), roles[-1])
        raise WeightsError(
            f"{file}: layer {layer!r} has the tensors {', '.join(roles)}, wanted are {', '.join(wanted)} "
            f"({odd!r} is {'missing' if odd in wanted else 'too many'}): weights of another network"
        )
    in_order = list(datasets.values())
    tensors: dict[str, torch.Tensor] = {}
    for place, line in enumerate(lines):
        dataset = in_order[roles.index(wanted[place]) if wanted[place] in roles else place]
        keras_shape = _keras_shape(line, shapes[line.name])
        if dataset.shape != keras_shape or dataset.dtype.kind != "f":
            raise WeightsError(
                f"{file}: tensor {layer + '/' + wanted[place]!r} has shape {dataset.shape} ({dataset.dtype}), "
                f"this encoder wants {keras_shape}: weights of another network"
            )
        values = np.asarray(dataset, np.float32)
        axes = {"kernel": (3, 2, 0, 1), "depthwise_kernel": (2, 3, 0, 1)}.get(line.role, (0,))
        tensors[line.name] = torch.from_numpy(np.ascontiguousarray(values.transpose(axes)))
    return tensors


def _role(name: str) -> str:
    """ "kernel" of "block_1_depthwise/depthwise_kernel:0"."""
    return name.rsplit("/", 1)[-1].split(":")[0].removeprefix("depthwise_")


def _keras_shape(line: EncoderTensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """(out, in, rows, columns) as Keras lays it out: (rows, columns, in, out), depthwise (rows, columns, out, in)."""
    if line.role == "kernel":
        return (*shape[2:], shape[1], shape[0])
    return (*shape[2:], *shape[:2]) if line.role == "depthwise_kernel" else shape


def _read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{file}: neither a Keras HDF5 file nor a state dict that can be read safely ({type(error).__name__}): "
            "fetch it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{file}: holds no state dict; save one with torch.save(model.state_dict(), file)")
    return {OLD_DENSE_LAYER.sub(r"\1\2.", name): value for name, value in state.items()}


def _pick_torchvision(
    file: Path, encoder: str, state: dict[str, torch.Tensor], table: Iterable[EncoderTensor], shapes: Shapes
) -> dict[str, torch.Tensor]:
    names = {str(line.torchvision): line.name for line in table}
    found = [name for name in state if not name.startswith("classifier.") and not name.endswith("num_batches_tracked")]
    for name in [*names, *found]:
        if name not in state or name not in names:
            raise WeightsError(
                f"{file}: tensor {name!r} is {'missing' if name in names else 'unknown'}: weights of another network; "
                f"this encoder takes torchvision's {TORCHVISION_NAMES[encoder]}"
            )
        wanted = shapes[names[name]]
        if tuple(state[name].shape) != wanted or not state[name].is_floating_point():
            raise WeightsError(
                f"{file}: tensor {name!r} has shape {tuple(state[name].shape)} ({state[name].dtype}), "
                f"this encoder wants {wanted}: weights of another network"
            )
    return {ours: state[theirs] for theirs, ours in names.items()}
