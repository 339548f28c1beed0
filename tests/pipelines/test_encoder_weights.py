"""ImageNet weights: files in their published naming fill the encoder; any other is refused and changes nothing."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from radseg.networks.encoder_unet import EncoderUNet
from radseg.networks.encoders import ENCODERS
from radseg.pipelines.encoder_weights import EncoderTensor, encoder_table, load_encoder
from radseg.pipelines.errors import WeightsError

TORCHVISION = {"vgg16": 26, "mobilenetv2": 260, "densenet121": 604, "efficientnetb3": 494}  # without classifier
Layers = dict[str, dict[str, np.ndarray]]


def network(encoder: str, padding: str = "keras") -> EncoderUNet:
    """An EncoderUNet whose tensors are whatever lay in memory: faster than initialising it."""
    with torch.device("meta"):
        empty = EncoderUNet(encoder, padding=padding)  # type: ignore[arg-type]
    return empty.to_empty(device="cpu")


def random_tensors(encoder: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        state = ENCODERS[encoder](3, "keras").state_dict()
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(value.shape, generator=generator)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def keras_layers(encoder: str, tensors: dict[str, torch.Tensor]) -> Layers:
    """Layers and tensors named as in the published file, in Keras' layout."""
    layers: Layers = {}
    for line in encoder_table(encoder):
        values = tensors[line.name].numpy()
        if line.role == "kernel":
            values = np.einsum("oihw->hwio", values)
        elif line.role == "depthwise_kernel":
            values = np.einsum("cmhw->hwcm", values)
        layers.setdefault(line.layer, {})[f"{line.layer}/{line.role}:0"] = values
    return layers


def write_keras(file: Path, layers: Layers, group: str = "/", attribute_parts: int = 1) -> Path:
    """What Keras' `save_weights` writes; layers without weights are in it, too."""
    with h5py.File(file, "w") as content:
        root = content.require_group(group)
        names = np.array(["input_1", *layers], "S")
        if attribute_parts == 1:
            root.attrs["layer_names"] = names
        else:
            for part, some in enumerate(np.array_split(names, attribute_parts)):
                root.attrs[f"layer_names{part}"] = some
        root.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for layer, weights in layers.items():
            stored = root.create_group(layer)
            stored.attrs["weight_names"] = np.array(list(weights), "S")
            for name, values in weights.items():
                stored.create_dataset(name, data=values)
    return file


def assert_filled(filled: EncoderUNet, tensors: dict[str, torch.Tensor]) -> None:
    state = filled.encoder.state_dict()
    assert {name for name in state if not name.endswith("num_batches_tracked")} == set(tensors)
    assert all(torch.equal(state[name], values) for name, values in tensors.items())


def test_a_file_in_a_store_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = random_tensors("mobilenetv2")
    file = write_keras(tmp_path / "w.h5", keras_layers("mobilenetv2", tensors))
    stored = {"az://weights/mobilenet.h5": file}
    monkeypatch.setattr("radseg.pipelines.encoder_weights.local_copy", stored.__getitem__)
    assert_filled(load_encoder(network("mobilenetv2"), "az://weights/mobilenet.h5"), tensors)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_published_keras_file_fills_every_tensor_of_the_encoder(encoder: str, tmp_path: Path) -> None:
    tensors = random_tensors(encoder)
    file = write_keras(tmp_path / "notop.h5", keras_layers(encoder, tensors))
    assert_filled(load_encoder(network(encoder), file), tensors)


@pytest.mark.parametrize("encoder", TORCHVISION)
def test_the_torchvision_state_dict_fills_every_tensor_of_the_encoder(encoder: str, tmp_path: Path) -> None:
    tensors = random_tensors(encoder)
    state = {str(line.torchvision): tensors[line.name] for line in encoder_table(encoder)}
    assert len(state) == TORCHVISION[encoder]
    state |= {"classifier.1.weight": torch.zeros(1000, 8), "features.0.1.num_batches_tracked": torch.tensor(0)}
    torch.save(state, tmp_path / "torchvision.pth")
    assert_filled(load_encoder(network(encoder, "torch"), tmp_path / "torchvision.pth"), tensors)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_table_names_each_tensor_once(encoder: str) -> None:
    table = encoder_table(encoder)
    assert sorted(line.name for line in table) == sorted(random_tensors(encoder))
    assert len({(line.layer, line.role) for line in table}) == len(table)
    names = {line.torchvision for line in table}
    assert names == {None} if encoder not in TORCHVISION else len(names) == len(table)


# written down from the packages' own definitions, one tensor or two of each kind
@pytest.mark.parametrize(
    ("encoder", "line", "shape"),
    [
        ("vgg16", ("block5.conv3.weight", "block5_conv3", "kernel", "features.28.weight"), (512, 512, 3, 3)),
        ("vgg16", ("block3.conv1.bias", "block3_conv1", "bias", "features.10.bias"), (256,)),
        ("resnet50", ("bn_data.bias", "bn_data", "beta"), (3,)),
        ("resnet50", ("stage3.unit1.shortcut.weight", "stage3_unit1_sc", "kernel"), (1024, 512, 1, 1)),
        ("resnet50", ("stage4.unit3.bn2.running_var", "stage4_unit3_bn2", "moving_variance"), (512,)),
        (
            "densenet121",
            (
                "features.denseblock3.denselayer24.layers.conv2.weight",
                "conv4_block24_2_conv",
                "kernel",
                "features.denseblock3.denselayer24.conv2.weight",
            ),
            (32, 128, 3, 3),
        ),
        (
            "densenet121",
            (
                "features.denseblock4.denselayer1.layers.norm1.weight",
                "conv5_block1_0_bn",
                "gamma",
                "features.denseblock4.denselayer1.norm1.weight",
            ),
            (512,),
        ),
        (
            "densenet121",
            ("features.transition1.conv.weight", "pool2_conv", "kernel", "features.transition1.conv.weight"),
            (128, 256, 1, 1),
        ),
        ("inceptionv3", ("conv5.conv.weight", "conv2d_5", "kernel"), (192, 80, 3, 3)),
        ("inceptionv3", ("mixed3.branch3x3.conv.weight", "conv2d_27", "kernel"), (384, 288, 3, 3)),
        ("inceptionv3", ("mixed10.branch_pool.1.bn.bias", "batch_normalization_94", "beta"), (192,)),
        ("efficientnetb3", ("stem.conv.weight", "stem_conv", "kernel", "features.0.0.weight"), (40, 3, 3, 3)),
        (
            "efficientnetb3",
            (
                "blocks.1.depthwise.conv.weight",
                "block1b_dwconv",
                "depthwise_kernel",
                "features.1.1.block.0.0.weight",
            ),
            (24, 1, 3, 3),
        ),
        (
            "efficientnetb3",
            (
                "blocks.18.squeeze_excite.reduce.bias",
                "block6a_se_reduce",
                "bias",
                "features.6.0.block.2.fc1.bias",
            ),
            (34,),
        ),
        (
            "mobilenetv2",
            ("blocks.0.project.conv.weight", "expanded_conv_project", "kernel", "features.1.conv.1.weight"),
            (16, 32, 1, 1),
        ),
        (
            "mobilenetv2",
            (
                "blocks.16.project.bn.running_mean",
                "block_16_project_BN",
                "moving_mean",
                "features.17.conv.3.running_mean",
            ),
            (320,),
        ),
        ("mobilenetv2", ("top.bn.weight", "Conv_1_bn", "gamma", "features.18.1.weight"), (1280,)),
    ],
)
def test_the_table_agrees_with_what_the_packages_define(
    encoder: str, line: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    assert EncoderTensor(*line) in encoder_table(encoder)
    assert tuple(random_tensors(encoder)[line[0]].shape) == shape


def test_tensors_called_w_and_b_are_read_by_position(tmp_path: Path) -> None:
    # as in vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 of 2016
    tensors = random_tensors("vgg16")
    layers = {
        layer: dict(zip([f"{layer}_W_1:0", f"{layer}_b_1:0"], weights.values(), strict=True))
        for layer, weights in keras_layers("vgg16", tensors).items()
    }
    assert_filled(load_encoder(network("vgg16"), write_keras(tmp_path / "old.h5", layers)), tensors)


def test_running_numbers_of_another_session_are_read_by_order(tmp_path: Path) -> None:
    tensors = random_tensors("inceptionv3")

    def later(layer: str) -> str:
        kind, number = layer.rsplit("_", 1)
        return f"{kind}_{int(number) + 17}"

    layers = {later(layer): weights for layer, weights in keras_layers("inceptionv3", tensors).items()}
    assert_filled(load_encoder(network("inceptionv3"), write_keras(tmp_path / "later.h5", layers)), tensors)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return random_tensors("mobilenetv2")


@pytest.fixture
def layers(tensors: dict[str, torch.Tensor]) -> Layers:
    return keras_layers("mobilenetv2", tensors)


def test_layer_names_of_an_older_release_are_read_by_order(
    tmp_path: Path, tensors: dict[str, torch.Tensor], layers: Layers
) -> None:
    renamed = {f"mobl_{number}": weights for number, weights in enumerate(layers.values())}
    assert_filled(load_encoder(network("mobilenetv2"), write_keras(tmp_path / "old.h5", renamed)), tensors)


def test_layers_in_another_order_are_read_by_name(
    tmp_path: Path, tensors: dict[str, torch.Tensor], layers: Layers
) -> None:
    backwards = {layer: layers[layer] for layer in reversed(layers)}
    assert_filled(load_encoder(network("mobilenetv2"), write_keras(tmp_path / "back.h5", backwards)), tensors)


def test_a_whole_saved_classifier_is_taken_without_its_top(
    tmp_path: Path, tensors: dict[str, torch.Tensor], layers: Layers
) -> None:
    layers["Logits"] = {"Logits/kernel:0": np.zeros((1280, 10)), "Logits/bias:0": np.zeros(10)}
    file = write_keras(tmp_path / "model.h5", layers, group="model_weights", attribute_parts=3)
    assert_filled(load_encoder(network("mobilenetv2"), file), tensors)


def test_densenet_files_of_old_torchvision_are_taken(tmp_path: Path) -> None:
    tensors = random_tensors("densenet121")
    state = {}
    for line in encoder_table("densenet121"):
        name = str(line.torchvision)
        for old in ("norm", "conv"):
            for number in "12":
                name = name.replace(f".{old}{number}.", f".{old}.{number}.") if "denselayer" in name else name
        state[name] = tensors[line.name]
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, tmp_path / "densenet121.pth")
    assert_filled(load_encoder(network("densenet121", "torch"), tmp_path / "densenet121.pth"), tensors)


def test_without_a_file_the_network_stays_as_it_is() -> None:
    made = EncoderUNet("mobilenetv2")
    before = {name: value.clone() for name, value in made.state_dict().items()}
    assert load_encoder(made, None) is made
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())


def refusal(file: Path, padding: str = "keras", encoder: str = "mobilenetv2") -> str:
    """The error's message, after a look that the encoder is as it was."""
    refused = network(encoder, padding)
    for value in refused.encoder.state_dict().values():
        value.fill_(3)
    with pytest.raises(WeightsError) as caught:
        load_encoder(refused, file)
    assert all((value == 3).all() for value in refused.encoder.state_dict().values())
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_matches(text: str, pattern: str) -> None:
    assert re.search(pattern, text), f"{text!r} doesn't match {pattern!r}"


def drop_layer(layers: Layers) -> None:
    del layers["block_16_project_BN"]


def drop_tensor(layers: Layers) -> None:
    del layers["Conv_1_bn"]["Conv_1_bn/beta:0"]


def exchange_tensor(layers: Layers) -> None:
    layers["Conv_1_bn"] = {name.replace("beta", "bias"): values for name, values in layers["Conv_1_bn"].items()}


def narrow(layers: Layers) -> None:
    layers["Conv_1"]["Conv_1/kernel:0"] = layers["Conv_1"]["Conv_1/kernel:0"][..., :640]


def whole_numbers(layers: Layers) -> None:
    layers["Conv_1"]["Conv_1/kernel:0"] = np.ones((1, 1, 320, 1280), np.int8)


def not_a_number(layers: Layers) -> None:
    layers["Conv_1_bn"]["Conv_1_bn/gamma:0"][5] = np.nan


def whole_unet(layers: Layers) -> None:
    layers["decoder_stage0a_conv"] = {"decoder_stage0a_conv/kernel:0": np.zeros((3, 3, 8, 8), np.float32)}


def another_network(layers: Layers) -> None:
    for layer in list(layers):
        layers[f"{layer}_other"] = layers.pop(layer)
    del layers["Conv1_other"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_layer, "layer 'block_16_project_BN' is missing.*takes mobilenet_v2_weights.*no_top.h5"),
        (drop_tensor, "layer 'Conv_1_bn'.*'beta' is missing"),
        (exchange_tensor, "layer 'Conv_1_bn'.*'beta' is missing"),
        (narrow, r"'Conv_1/kernel' has shape \(1, 1, 320, 640\).*wants \(1, 1, 320, 1280\)"),
        (whole_numbers, r"'Conv_1/kernel' has shape .*int8"),
        (not_a_number, "'top.bn.weight' holds values that aren't numbers"),
        (whole_unet, "layer 'decoder_stage0a_conv' is unknown.*another network"),
        (another_network, "holds 103 layers with weights, 104 wanted.*another network"),
    ],
)
def test_a_keras_file_of_another_network_is_refused_by_tensor(
    tmp_path: Path, layers: Layers, damage: Callable[[Layers], None], message: str
) -> None:
    layers = {layer: {name: values.copy() for name, values in weights.items()} for layer, weights in layers.items()}
    damage(layers)
    assert_matches(refusal(write_keras(tmp_path / "wrong.h5", layers)), message)


@pytest.fixture
def state(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {str(line.torchvision): tensors[line.name] for line in encoder_table("mobilenetv2")}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("features.18.1.bias", None, "'features.18.1.bias' is missing.*torchvision's mobilenet_v2"),
        ("decoder.stage1.conv1.weight", torch.zeros(1), "'decoder.stage1.conv1.weight' is unknown"),
        ("features.18.1.bias", torch.zeros(2), r"'features.18.1.bias' has shape \(2,\).*wants \(1280,\)"),
        ("features.18.1.bias", torch.zeros(1280, dtype=torch.int8), "int8"),
    ],
)
def test_a_state_dict_of_another_network_is_refused_by_tensor(
    tmp_path: Path, state: dict[str, torch.Tensor], name: str, value: torch.Tensor | None, message: str
) -> None:
    if value is None:
        del state[name]
    else:
        state[name] = value
    torch.save(state, tmp_path / "wrong.pth")
    assert_matches(refusal(tmp_path / "wrong.pth", "torch"), message)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must not run",))


def test_a_pickle_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(_Evil()))
    assert_matches(refusal(tmp_path / "evil.pth"), "neither a Keras HDF5 file nor a state dict")
    assert capsys.readouterr().out == ""


def test_files_that_are_no_weights_are_refused(tmp_path: Path, layers: Layers) -> None:
    (tmp_path / "notes.h5").write_text("not weights at all")
    assert_matches(refusal(tmp_path / "notes.h5"), "neither a Keras HDF5 file nor a state dict.*fetch it")
    whole = write_keras(tmp_path / "whole.h5", layers).read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    assert_matches(refusal(tmp_path / "half.h5"), "damaged HDF5 file")
    with h5py.File(tmp_path / "whole.h5", "a") as content:
        del content["Conv_1/Conv_1/kernel:0"]
    assert_matches(refusal(tmp_path / "whole.h5"), "tensor 'Conv_1/kernel:0' of layer 'Conv_1' is missing")
    h5py.File(tmp_path / "other.h5", "w").close()
    assert_matches(refusal(tmp_path / "other.h5"), "holds no Keras layers")
    torch.save({"state_dict": {}}, tmp_path / "nested.pth")
    assert_matches(refusal(tmp_path / "nested.pth", "torch"), "holds no state dict")
    assert_matches(refusal(tmp_path / "absent.h5"), "no such weights file; mobilenetv2 takes")


def test_weights_of_the_other_padding_are_refused_with_the_remedy(
    tmp_path: Path, layers: Layers, state: dict[str, torch.Tensor]
) -> None:
    file = write_keras(tmp_path / "keras.h5", layers)
    assert_matches(refusal(file, "torch"), "build it with --encoder_padding keras")
    torch.save(state, tmp_path / "torchvision.pth")
    assert_matches(refusal(tmp_path / "torchvision.pth"), "build it with --encoder_padding torch")


@pytest.mark.parametrize("encoder", ["resnet50", "inceptionv3"])
def test_torchvision_networks_that_differ_are_refused_with_the_reason(encoder: str, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "torchvision.pth")
    message = refusal(tmp_path / "torchvision.pth", encoder=encoder)
    assert_matches(message, f"no torchvision weights fit {encoder}: torchvision's .*; give .*no_?top.h5")


def test_an_encoder_of_one_channel_takes_no_imagenet_weights(tmp_path: Path, layers: Layers) -> None:
    file = write_keras(tmp_path / "notop.h5", layers)
    with pytest.raises(WeightsError, match=r"three channels, this network takes 1.*in_channels.*repeat"):
        load_encoder(EncoderUNet("mobilenetv2", in_channels=1), file)
