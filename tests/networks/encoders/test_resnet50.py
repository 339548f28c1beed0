import pytest
import torch
from torch import nn
from torch.nn import functional as F

from radseg.networks.encoders import ResNet50
from radseg.networks.encoders.resnet50 import BottleneckUnit


@pytest.fixture
def encoder() -> ResNet50:
    return ResNet50().eval()


def test_the_taps_are_the_first_activations_and_the_last(encoder):
    inputs = {}
    for name in ("stage2.unit1", "stage3.unit1", "stage4.unit1", "bn1"):
        encoder.get_submodule(name).register_forward_pre_hook(lambda _, args, name=name: inputs.update({name: args[0]}))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = encoder(x)
        expected = [
            F.relu(encoder.bn0(encoder.conv0(encoder.bn_data(x)))),
            *(F.relu(encoder.get_submodule(f"stage{n}.unit1").bn1(inputs[f"stage{n}.unit1"])) for n in (2, 3, 4)),
            F.relu(encoder.bn1(inputs["bn1"])),
        ]
    for feature, wanted in zip(features, expected, strict=True):
        torch.testing.assert_close(feature, wanted)


def test_the_image_is_normalised_and_shifted_but_not_scaled(encoder):
    assert [name for name, _ in encoder.bn_data.named_parameters()] == ["bias"]
    with torch.no_grad():
        encoder.bn_data.bias.fill_(2.0)
        encoder.bn_data.running_var.fill_(4.0)
        torch.testing.assert_close(encoder.bn_data(torch.ones(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 2.5))


def test_training_on_several_devices_keeps_the_shift_of_the_image(encoder):
    with torch.no_grad():
        encoder.bn_data.bias.fill_(2.0)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(encoder).bn_data
    assert converted.weight is None
    torch.testing.assert_close(converted.bias, torch.full((3,), 2.0))


def test_the_first_pooling_sees_one_pixel_around_the_features(encoder):
    pooled = []
    encoder.stage1.unit1.register_forward_pre_hook(lambda _, args: pooled.append(args[0]))
    with torch.no_grad():
        half = encoder(torch.randn(1, 3, 32, 32))[0]
    windows = F.pad(half, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2)  # zeros, as Keras adds them
    torch.testing.assert_close(pooled[0], windows.amax((-1, -2)))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_projected_shortcut_starts_from_the_activation(stride):
    unit = BottleneckUnit(8, 2, stride, projected=True).eval()
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        unit.conv3.weight.zero_()
        nn.init.dirac_(unit.shortcut.weight)
        activation, y = unit(x)
    torch.testing.assert_close(activation, F.relu(unit.bn1(x)))
    torch.testing.assert_close(y, activation[:, :, ::stride, ::stride])


def test_another_shortcut_is_the_input_itself():
    unit = BottleneckUnit(8, 2, 1, projected=False).eval()
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        unit.conv3.weight.zero_()
        torch.testing.assert_close(unit(x)[1], x)


def test_strided_convolutions_pad_all_sides_alike(encoder):
    assert (encoder.conv0.stride, encoder.conv0.padding) == ((2, 2), (3, 3))
    strided = [encoder.get_submodule(f"stage{n}.unit1.conv2") for n in (2, 3, 4)]
    assert {(conv.stride, conv.padding) for conv in strided} == {((2, 2), (1, 1))}


def test_torchvision_weights_are_refused_because_the_units_differ():
    with pytest.raises(ValueError, match="no torchvision weights fit"):
        ResNet50(padding="torch")


def test_state_dict_keys_say_where_a_weight_belongs(encoder):
    assert {
        "bn_data.running_mean",
        "conv0.weight",
        "stage1.unit1.shortcut.weight",
        "stage2.unit4.conv3.weight",
        "stage4.unit3.bn1.bias",
        "bn1.running_var",
    } < encoder.state_dict().keys()
