import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from radseg.networks import SpineFusionNet
from radseg.networks.spine_fusion_net import MODULES
from radseg.pipelines.engine import AutocastInferer

NARROW = (4, 8, 16, 32, 64)
SLICE_FEATURES = (32, 64, 128, 256, 512)
VOLUME_FEATURES = (16, 32, 64, 128, 256)


def count_parameters(*args, **kwargs) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in SpineFusionNet(*args, **kwargs).parameters())


@pytest.fixture(scope="module")
def narrow_nets() -> dict[int, SpineFusionNet]:
    torch.manual_seed(0)
    return {dims: SpineFusionNet(dims, 1, 2, NARROW).eval() for dims in (2, 3)}


@pytest.mark.parametrize(
    ("spatial_dims", "features", "parameters"),
    [
        (2, (64, 128, 256, 512, 1024), 20_432_348),
        (2, SLICE_FEATURES, 6_238_524),
        (3, SLICE_FEATURES, 16_617_224),
        (3, VOLUME_FEATURES, 5_987_992),
    ],
)
def test_parameter_count_is_the_specified_one(spatial_dims, features, parameters):
    assert count_parameters(spatial_dims, 1, 1, features) == parameters


@pytest.mark.parametrize(
    ("module", "slice_parameters", "volume_parameters"),
    [
        ("ffm", 5_796_156, 5_938_840),
        ("sem", 6_234_140, 5_983_608),
        ("aspp", 6_098_556, 5_626_840),
        ("rcbam", 5_851_410, 4_863_010),
        ("rbrab", 6_139_579, 5_741_591),
        ("lprab", 6_122_236, 5_646_488),
    ],
)
def test_each_ablation_has_the_specified_parameter_count(module, slice_parameters, volume_parameters):
    assert count_parameters(2, 1, 1, SLICE_FEATURES, without={module}) == slice_parameters
    assert count_parameters(3, 1, 1, VOLUME_FEATURES, without={module}) == volume_parameters


@settings(max_examples=12, deadline=None)
@given(size=st.lists(st.integers(1, 50), min_size=2, max_size=2))
def test_any_slice_size_comes_back_at_its_size(narrow_nets, size):
    with torch.no_grad():
        logits = narrow_nets[2](torch.randn(1, 1, *size))
    assert logits.shape == (1, 2, *size)
    assert logits.isfinite().all()


@settings(max_examples=8, deadline=None)
@given(size=st.lists(st.integers(1, 34), min_size=3, max_size=3))
def test_any_volume_size_comes_back_at_its_size(narrow_nets, size):
    with torch.no_grad():
        logits = narrow_nets[3](torch.randn(1, 1, *size))
    assert logits.shape == (1, 2, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_an_image_of_one_pixel_comes_back_as_one_pixel(narrow_nets, spatial_dims):
    size = (1,) * spatial_dims
    with torch.no_grad():
        assert narrow_nets[spatial_dims](torch.ones(1, 1, *size)).shape == (1, 2, *size)


def test_an_odd_size_is_segmented_as_if_the_edge_went_on(alive):
    x = torch.randn(2, 1, 27, 33)
    net = alive(SpineFusionNet(2, 1, 2, NARROW), torch.randn(2, 1, 48, 48))
    continued = torch.cat([x, x[:, :, -1:].expand(-1, -1, 5, -1)], dim=2)
    continued = torch.cat([continued, continued[..., -1:].expand(-1, -1, -1, 15)], dim=3)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(continued)[:, :, :27, :33])


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(("in_channels", "out_channels"), [(1, 1), (2, 3)])
def test_channels_in_and_out_are_as_asked(spatial_dims, in_channels, out_channels):
    net = SpineFusionNet(spatial_dims, in_channels, out_channels, NARROW).eval()
    size = (16,) * spatial_dims
    with torch.no_grad():
        assert net(torch.randn(2, in_channels, *size)).shape == (2, out_channels, *size)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("without", [(), *MODULES, MODULES])
def test_every_ablation_trains_on_one_image_of_32_a_side(spatial_dims, without):
    net = SpineFusionNet(spatial_dims, 1, 3, NARROW, without=without)
    size = (32,) * spatial_dims
    logits = net.train()(torch.randn(1, 1, *size))
    assert logits.shape == (1, 3, *size)
    logits.square().mean().backward()
    first = net.encoder.block1.conv1.weight.grad
    assert first.isfinite().all()
    assert first.abs().max() > 0


def test_one_training_image_of_16_a_side_is_refused_with_the_remedy():
    net = SpineFusionNet(3, 1, 1, NARROW)
    with pytest.raises(ValueError, match="at least 2 images or more than 16 pixels"):
        net(torch.zeros(1, 1, 16, 9, 16))


def test_two_training_images_of_16_a_side_are_enough():
    assert SpineFusionNet(2, 1, 1, NARROW)(torch.randn(2, 1, 16, 16)).isfinite().all()


def test_without_means_the_same_in_any_order_container_and_repetition():
    spellings = [["sem", "aspp"], ("aspp", "sem"), {"aspp", "sem"}, ["aspp", "sem", "aspp"], iter(["sem", "aspp"])]
    outputs: list[Tensor] = []
    for without in spellings:
        torch.manual_seed(3)
        net = SpineFusionNet(2, 1, 1, NARROW, without=without).eval()
        with torch.no_grad():
            outputs.append(net(torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)))
    assert all(torch.equal(a, b) for a, b in itertools.pairwise(outputs))


def test_without_takes_a_single_name():
    assert SpineFusionNet(2, 1, 1, NARROW, without="aspp").without == {"aspp"}


def test_without_sem_leaves_no_sem_weights():
    assert not [key for key in SpineFusionNet(2, 1, 1, NARROW, without="sem").state_dict() if key.startswith("sem")]


def test_an_unknown_module_is_refused_with_the_nearest_name():
    with pytest.raises(
        ValueError, match=r"'asp'; did you mean 'aspp'\? Choose from ffm, sem, aspp, rcbam, rbrab, lprab"
    ):
        SpineFusionNet(2, 1, 1, NARROW, without=["sem", "asp"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 1, 1, NARROW), "spatial_dims must be 2"),
        ((3, 0, 1, NARROW), "in_channels must be an integer of at least 1, got 0"),
        ((3, 1, True, NARROW), "out_channels must be an integer"),
        ((3, 1, 1, (16, 32, 64, 128)), "features must be 5 integers, one width a level, got 4"),
        ((3, 1, 1, (16, 32, 64, 128, 25.6)), r"features\[4\] must be an integer"),
        ((3, 1, 1, 16), "features must be 5 integers"),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpineFusionNet(*arguments)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 2, 16, 16, 16), (1, 1, 16, 16), (1, 1, 16, 0, 16)])
def test_an_image_of_another_shape_is_refused_with_the_expected_one(narrow_nets, shape):
    with pytest.raises(ValueError, match=r"takes images of shape \(batch, 1, depth, height, width\), got"):
        narrow_nets[3](torch.zeros(shape))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_gradients_reach_every_parameter_once_the_gate_is_open(spatial_dims):
    torch.manual_seed(0)
    net = SpineFusionNet(spatial_dims, 1, 2, NARROW)
    # RBRAB's gate starts at 0 and so holds back the gradient of its attention until it has moved.
    nn.init.ones_(net.rbrab.gate)
    net(torch.randn(2, 1, *(32,) * spatial_dims)).square().mean().backward()
    # The key's bias shifts all of a query's scores alike, which the softmax cancels: its gradient is 0 by nature.
    without_gradient = {
        name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    }
    assert without_gradient <= {"rbrab.attention.key.bias"}
    assert net.rbrab.attention.key.bias.grad is not None


def test_a_closed_gate_still_learns_to_open():
    net = SpineFusionNet(2, 1, 1, NARROW)
    assert net.rbrab.gate.item() == 0
    net(torch.randn(2, 1, 32, 32)).square().mean().backward()
    assert net.rbrab.gate.grad.abs() > 0
    assert not net.rbrab.attention.query.weight.grad.any()


def test_the_same_seed_gives_the_same_weights():
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        states.append(SpineFusionNet(3, 1, 1, NARROW).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["encoder.block1.conv1.weight"], states[2]["encoder.block1.conv1.weight"])


def test_state_dict_keys_say_where_a_weight_belongs(narrow_nets):
    keys = narrow_nets[2].state_dict().keys()
    assert {
        "encoder.block1.conv1.weight",
        "encoder.block5.bn2.running_mean",
        "ffm.level2.lateral.conv.weight",
        "ffm.level5.fuse.conv.weight",
        "sem.level3.squeeze.weight",
        "common_scale.level4.conv.weight",
        "common_scale.merge.bn.bias",
        "aspp.dilated.rate6.conv.weight",
        "aspp.image_mean.bias",
        "rcbam.channel_attention.squeeze.weight",
        "rcbam.spatial_attention.conv.weight",
        "rcbam.spatial_residual.conv2.weight",
        "rbrab.attention.query.weight",
        "rbrab.gate",
        "lprab.position.conv.weight",
        "lprab.mask.weight",
        "lprab.residual.conv1.weight",
        "decoder.initial.conv1.weight",
        "decoder.bottleneck_encoder3.depthwise.conv.weight",
        "decoder.bottleneck_decoder1.conv.weight",
        "decoder.transposed_conv.weight",
        "decoder.classes.weight",
    } <= keys
    assert "aspp.dilated.rate2.conv.weight" in narrow_nets[3].state_dict()


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_bfloat16_trains_with_finite_gradients(spatial_dims):
    net = SpineFusionNet(spatial_dims, 1, 1, NARROW)
    logits = AutocastInferer(SimpleInferer())(torch.randn(1, 1, *(32,) * spatial_dims), net)
    loss = logits.square().mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(("spatial_dims", "layout"), [(2, torch.channels_last), (3, torch.channels_last_3d)])
def test_channels_last_gives_the_same_logits(alive, spatial_dims, layout):
    x = torch.randn(2, 2, *(32,) * spatial_dims)
    net = alive(SpineFusionNet(spatial_dims, 2, 3, NARROW), x)
    with torch.no_grad():
        contiguous = net(x)
        channels_last = net.to(memory_format=layout)(x.to(memory_format=layout))
    if spatial_dims == 2:  # in 3D it depends on the convolution that torch picks for the machine
        assert channels_last.is_contiguous(memory_format=layout)
    # Rounding of other summation orders, which batch norms over a few values at 1/16 enlarge.
    torch.testing.assert_close(channels_last, contiguous, rtol=0, atol=2e-3)


def test_the_graph_has_no_breaks_to_compile_around(narrow_nets):
    x = torch.randn(1, 1, 20, 32)
    with torch.no_grad():
        compiled = torch.compile(narrow_nets[2], backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), narrow_nets[2](x))


def test_the_modules_are_used(alive):
    """Each module's weights change the logits, so that no ablation compares a network with itself."""
    x = torch.randn(2, 1, 32, 32)
    net = alive(SpineFusionNet(2, 1, 1, NARROW), x)
    with torch.no_grad():
        before = net(x)
        for name in MODULES:
            module = net.get_submodule(name)
            saved = {key: value.clone() for key, value in module.state_dict().items()}
            for parameter in module.parameters():
                parameter.mul_(0.5)
            assert not torch.allclose(net(x), before), name
            module.load_state_dict(saved)
        torch.testing.assert_close(net(x), before)
