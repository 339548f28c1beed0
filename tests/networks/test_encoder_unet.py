import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from radseg.networks.encoder_unet import DecoderStage, EncoderUNet, KerasDoubleConv
from radseg.networks.encoders import ENCODERS

# Total with batch-norm statistics, and trainable, of the six networks in Keras.
COUNTS = {
    "inceptionv3": (29_933_105, 29_896_689),
    "vgg16": (23_752_273, 23_748_241),
    "resnet50": (32_561_114, 32_513_556),
    "densenet121": (12_144_977, 12_059_345),
    "efficientnetb3": (17_867_833, 17_778_553),
    "mobilenetv2": (8_047_441, 8_011_345),
}
# Skips at 1/2, 1/4, 1/8 and 1/16, and the bottom.
CHANNELS = {
    "inceptionv3": (64, 192, 288, 768, 2048),
    "vgg16": (128, 256, 512, 512, 512),
    "resnet50": (64, 256, 512, 1024, 2048),
    "densenet121": (64, 128, 256, 512, 1024),
    "efficientnetb3": (144, 192, 288, 816, 1536),
    "mobilenetv2": (96, 144, 192, 576, 1280),
}
BATCH_NORM_EPS = {
    "inceptionv3": {1e-3},
    "vgg16": set(),
    "resnet50": {2e-5},
    "densenet121": {1.001e-5},
    "efficientnetb3": {1e-3},
    "mobilenetv2": {1e-3},
}
SMALLEST = "mobilenetv2"


@pytest.fixture(scope="module", params=COUNTS)
def named_net(request: pytest.FixtureRequest) -> tuple[str, EncoderUNet]:
    torch.manual_seed(0)
    return request.param, EncoderUNet(request.param).eval()


@pytest.fixture(scope="module")
def net() -> EncoderUNet:
    torch.manual_seed(0)
    return EncoderUNet(SMALLEST).eval()


@pytest.mark.parametrize(("encoder", "counts"), COUNTS.items())
def test_parameter_counts_are_those_of_keras(encoder, counts):
    with torch.device("meta"):
        net = EncoderUNet(encoder)
    trainable = sum(parameter.numel() for parameter in net.parameters())
    running = sum(b.numel() for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var")))
    assert (trainable + running, trainable) == counts


def test_the_six_encoders_of_the_paper_are_there_and_densenet_is_the_default():
    assert tuple(ENCODERS) == tuple(COUNTS)
    with torch.device("meta"):
        assert isinstance(EncoderUNet().encoder, ENCODERS["densenet121"])


def test_every_encoder_gives_the_channels_it_says_at_halved_sizes(named_net):
    encoder, net = named_net
    assert net.encoder.channels == CHANNELS[encoder]
    with torch.no_grad():
        features = net.encoder(torch.randn(1, 3, 64, 96))
    sizes = [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert [tuple(f.shape) for f in features] == [(1, c, *s) for c, s in zip(CHANNELS[encoder], sizes, strict=True)]


@pytest.mark.parametrize("size", [(33, 47), (1, 1)])
def test_an_x_ray_of_any_size_comes_back_at_its_size(named_net, size):
    with torch.no_grad():
        logits = named_net[1](torch.randn(1, 3, *size))
    assert logits.shape == (1, 1, *size)
    assert logits.isfinite().all()


@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 100), width=st.integers(1, 100))
def test_any_size_comes_back_at_its_size(net, height, width):
    with torch.no_grad():
        assert net(torch.randn(1, 3, height, width)).shape == (1, 1, height, width)


def test_an_odd_size_is_segmented_as_if_the_edge_went_on(alive):
    net = alive(EncoderUNet(SMALLEST), torch.randn(2, 3, 64, 64))
    x = torch.randn(1, 3, 59, 64)
    continued = torch.cat([x, x[:, :, -1:].expand(-1, -1, 5, -1)], dim=2)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(continued)[:, :, :59])


@pytest.mark.parametrize("encoder", COUNTS)
def test_channels_in_and_out_are_as_asked(encoder):
    with torch.no_grad():
        assert EncoderUNet(encoder, 1, 2).eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 2, 32, 32)


def test_output_is_logits_not_probabilities():
    net = EncoderUNet(SMALLEST).eval()
    with torch.no_grad():
        nn.init.constant_(net.head.bias, -5.0)
        assert net(torch.randn(1, 3, 32, 32)).min() < -1


def test_gradients_reach_every_parameter(named_net):
    net = named_net[1].train()
    for module in net.modules():
        if hasattr(module, "drop_rate"):
            module.drop_rate = 0.0  # a residual dropped by chance has no gradient
    net.zero_grad()
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    dead = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()}
    net.eval().zero_grad()
    assert dead == set()


def test_batch_norms_have_the_eps_of_the_keras_layers(named_net):
    encoder, net = named_net

    def eps_of(module: nn.Module) -> set[float]:
        return {m.eps for m in module.modules() if isinstance(m, nn.BatchNorm2d)}

    assert eps_of(net.encoder) == BATCH_NORM_EPS[encoder]
    assert eps_of(net.decoder) == {1e-3}
    assert {m.momentum for m in net.decoder.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}


def test_only_vgg_has_a_centre_and_no_network_a_skip_at_full_resolution(named_net):
    encoder, net = named_net
    assert isinstance(net.center, KerasDoubleConv if encoder == "vgg16" else nn.Identity)
    *skips, bottom = net.encoder.channels
    coarse = (bottom, 256, 128, 64, 32)
    widths = [c + skip for c, skip in zip(coarse, [*reversed(skips), 0], strict=True)]
    assert [stage.conv1.in_channels for stage in net.decoder.values()] == widths
    assert [stage.conv2.out_channels for stage in net.decoder.values()] == [256, 128, 64, 32, 16]


def test_a_stage_doubles_each_pixel_and_puts_the_skip_behind():
    stage = DecoderStage(2, 3, 4).eval()
    merged = []
    stage.conv1.register_forward_pre_hook(lambda _, inputs: merged.append(inputs[0]))
    coarse, skip = torch.randn(1, 2, 3, 2), torch.randn(1, 3, 6, 4)
    with torch.no_grad():
        assert stage(coarse, skip).shape == (1, 4, 6, 4)
    torch.testing.assert_close(merged[0][:, 2:], skip)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        torch.testing.assert_close(merged[0][:, :2, row::2, column::2], coarse)


def test_a_stage_convolves_normalises_and_rectifies_twice():
    stage = DecoderStage(2, 0, 4)
    x = torch.randn(2, 2, 4, 4)
    by_hand = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    for conv, bn in ((stage.conv1, stage.bn1), (stage.conv2, stage.bn2)):
        by_hand = nn.functional.conv2d(by_hand, conv.weight, padding=1)
        mean, variance = by_hand.mean((0, 2, 3), keepdim=True), by_hand.var((0, 2, 3), correction=0, keepdim=True)
        by_hand = ((by_hand - mean) / (variance + bn.eps).sqrt()).relu()
    torch.testing.assert_close(stage(x), by_hand)


@pytest.mark.parametrize("encoder", ["vgg16", "densenet121", "efficientnetb3", "mobilenetv2"])
def test_the_torchvision_form_takes_the_same_weights(encoder):
    with torch.device("meta"):
        keras, torchvision = (EncoderUNet(encoder, padding=padding) for padding in ("keras", "torch"))
    shapes = [{key: tensor.shape for key, tensor in net.state_dict().items()} for net in (keras, torchvision)]
    assert shapes[1].pop("torch_padding") == (0,)  # holds nothing; see the next test
    assert shapes[0] == shapes[1]
    eps = {m.eps for m in torchvision.encoder.modules() if isinstance(m, nn.BatchNorm2d)}
    # torchvision builds EfficientNet-B3 with eps 1e-5 too: only B5 to B7 have another.
    assert eps == (set() if encoder == "vgg16" else {1e-5})
    assert {m.eps for m in torchvision.decoder.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


def test_trained_weights_of_one_form_never_load_into_the_other():
    keras, torchvision = (EncoderUNet(SMALLEST, padding=padding) for padding in ("keras", "torch"))
    with pytest.raises(RuntimeError, match="torch_padding"):
        keras.load_state_dict(torchvision.state_dict())
    with pytest.raises(RuntimeError, match="torch_padding"):
        torchvision.load_state_dict(keras.state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "resnet5"}, "encoder: unknown name 'resnet5'; did you mean 'resnet50'"),
        ({"encoder": "VGG16"}, "did you mean 'vgg16'"),
        ({"encoder": ["vgg16"]}, "encoder: unknown name"),
        ({"encoder": None}, "Choose from inceptionv3, vgg16, resnet50, densenet121, efficientnetb3, mobilenetv2"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"out_channels": 1.0}, "out_channels must be an integer"),
        ({"padding": "same"}, "padding"),
        ({"encoder": "vgg16", "padding": "same"}, "padding"),
        ({"encoder": "resnet50", "padding": "same"}, "padding"),
        ({"encoder": "resnet50", "padding": "torch"}, "no torchvision weights fit"),
        ({"encoder": "inceptionv3", "padding": "torch"}, "no torchvision weights fit"),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        EncoderUNet(**arguments)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 3, 32, 32, 32), (1, 3, 0, 32)])
def test_an_image_of_another_shape_is_refused_with_the_expected_one(net, shape):
    with pytest.raises(ValueError, match=r"EncoderUNet takes images of shape \(batch, 3, height, width\), got"):
        net(torch.zeros(shape))


def test_one_training_image_of_32_a_side_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="at least 2 images or more than 32 pixels"):
        EncoderUNet(SMALLEST)(torch.zeros(1, 3, 32, 32))


def test_the_same_seed_gives_the_same_weights():
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        states.append(EncoderUNet(SMALLEST).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])


def test_state_dict_keys_say_where_a_weight_belongs(net):
    assert {
        "decoder.stage1.conv1.weight",
        "decoder.stage5.bn2.running_var",
        "head.weight",
        "head.bias",
    } <= net.state_dict().keys()


def test_bfloat16_autocast_trains_with_a_finite_loss():
    net = EncoderUNet("densenet121")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net(torch.randn(2, 3, 64, 64)).float().square().mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in net.parameters())


# torch.export, of a part of torch itself
@pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated:FutureWarning")
@pytest.mark.parametrize("encoder", ["densenet121", "resnet50"])
def test_the_exported_program_gives_the_same_logits(encoder, alive):
    x = torch.randn(1, 3, 33, 47)
    net = alive(EncoderUNet(encoder), torch.randn(2, 3, 64, 64))
    program = torch.export.export(net, (x,))
    with torch.no_grad():
        logits = net(x)
        assert logits.std() > 0.05  # agreement of constants would prove nothing
        torch.testing.assert_close(program.module()(x), logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoder", ["vgg16", "densenet121"])
def test_a_gradient_hook_on_any_layer_works(encoder):
    """Class activation maps hook layers by name; an activation changed in place would make torch refuse."""
    net = EncoderUNet(encoder).eval()
    seen: list[str] = []
    for name, module in net.named_modules():
        if name and not any(True for _ in module.children()):
            module.register_full_backward_hook(lambda *_, name=name: seen.append(name))
    net(torch.randn(1, 3, 32, 32, requires_grad=True)).sum().backward()
    assert {"head", "decoder.stage1.bn2"} < set(seen)
