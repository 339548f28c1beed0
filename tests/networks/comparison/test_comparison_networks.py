"""What the networks to compare with promise alike."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from radseg.networks.comparison import DeepLabV3Plus, FCN8s, SegNet, UNet, UNetPlusPlus
from radseg.networks.comparison.frame import ComparisonNetwork
from radseg.pipelines.engine import AutocastInferer

NARROW = {
    SegNet: (8, 8, 8, 16, 16),
    FCN8s: (8, 8, 8, 16, 16, 32),
    DeepLabV3Plus: 4,
    UNet: (4, 4, 8, 16, 32, 4),
    UNetPlusPlus: (4, 4, 8, 16, 32, 4),
}
# Keys of the first and the last weights; a change here leaves trained weights without a network.
KEYS = {
    SegNet: {"encoder.block1.conv1.conv.weight", "decoder.block5.conv3.bn.running_mean", "classes.bias"},
    FCN8s: {"encoder.block1.conv1.weight", "conv6.bias", "score_pool3.weight", "double_pool4.weight"},
    DeepLabV3Plus: {
        "backbone.conv1.weight",
        "backbone.layer4.0.downsample.1.running_var",
        "aspp.image_mean.bias",
        "narrow.bn.weight",
        "decoder2.conv.weight",
        "classes.weight",
    },
    UNet: {"net.conv_0.conv_0.conv.weight", "net.upcat_1.upsample.deconv.weight", "net.final_conv.bias"},
    UNetPlusPlus: {"net.conv_0_0.conv_0.conv.weight", "net.upcat_0_4.convs.conv_1.adn.N.weight"},
}

of_each = pytest.mark.parametrize("network", NARROW)
in_both = pytest.mark.parametrize("spatial_dims", [2, 3])


def narrow(
    network: Callable[..., ComparisonNetwork], spatial_dims: int, in_channels: int = 1, out_channels: int = 2
) -> ComparisonNetwork:
    return network(spatial_dims, in_channels, out_channels, features=NARROW[network])


@pytest.fixture(scope="module")
def nets() -> dict[tuple[type[ComparisonNetwork], int], ComparisonNetwork]:
    torch.manual_seed(0)
    return {(network, dims): narrow(network, dims).eval() for network in NARROW for dims in (2, 3)}


@of_each
@settings(max_examples=8, deadline=None)
@given(size=st.lists(st.integers(1, 70), min_size=2, max_size=2))
def test_any_slice_size_comes_back_at_its_size(nets, network, size):
    with torch.no_grad():
        logits = nets[network, 2](torch.randn(1, 1, *size))
    assert logits.shape == (1, 2, *size)
    assert logits.isfinite().all()


@of_each
@settings(max_examples=4, deadline=None)
@given(size=st.lists(st.integers(1, 34), min_size=3, max_size=3))
def test_any_volume_size_comes_back_at_its_size(nets, network, size):
    with torch.no_grad():
        logits = nets[network, 3](torch.randn(1, 1, *size))
    assert logits.shape == (1, 2, *size)
    assert logits.isfinite().all()


@of_each
@in_both
def test_an_image_of_one_pixel_comes_back_as_one_pixel(nets, network, spatial_dims):
    size = (1,) * spatial_dims
    with torch.no_grad():
        assert nets[network, spatial_dims](torch.ones(1, 1, *size)).shape == (1, 2, *size)


@of_each
def test_an_odd_size_is_segmented_as_if_the_edge_went_on(network, alive):
    net = alive(narrow(network, 2), torch.randn(2, 1, 64, 64))
    x = torch.randn(1, 1, 51, 64)
    continued = torch.cat([x, x[:, :, -1:].expand(-1, -1, 13, -1)], dim=2)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(continued)[:, :, :51])


@of_each
@in_both
def test_channels_in_and_out_are_as_asked(network, spatial_dims):
    net = narrow(network, spatial_dims, in_channels=3, out_channels=1).eval()
    size = (32,) * spatial_dims
    with torch.no_grad():
        assert net(torch.randn(2, 3, *size)).shape == (2, 1, *size)


@of_each
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 4}, r"spatial_dims must be 2 \(slices\) or 3 \(volumes\), got 4"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"out_channels": 1.0}, "out_channels must be an integer"),
        ({"features": "wide"}, "features must be"),
        ({"features": (4, 8)}, "features must be"),
        ({"features": 0}, "features must be"),
    ],
)
def test_wrong_arguments_are_refused_when_built(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**{"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "features": NARROW[network], **arguments})


@of_each
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 2, 16, 16), (1, 1, 16, 16, 16), (1, 1, 0, 16)])
def test_an_image_of_another_shape_is_refused_with_the_expected_one(nets, network, shape):
    expected = rf"{network.__name__} takes images of shape \(batch, 1, height, width\), got"
    with pytest.raises(ValueError, match=expected):
        nets[network, 2](torch.zeros(shape))


@of_each
@in_both
def test_one_image_trains_and_gradients_reach_every_parameter(network, spatial_dims):
    net = narrow(network, spatial_dims)
    net(torch.randn(1, 1, *(17,) * spatial_dims)).square().mean().backward()
    dead = {
        name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    }
    assert dead == set()


@of_each
@in_both
def test_two_images_of_16_a_side_train(network, spatial_dims):
    assert narrow(network, spatial_dims)(torch.randn(2, 1, *(16,) * spatial_dims)).isfinite().all()


@of_each
@pytest.mark.parametrize("spatial_dims", [2, pytest.param(3, marks=pytest.mark.long)])
def test_a_few_training_steps_see_more_in_an_image_than_the_share_of_its_classes(network, spatial_dims):
    net = narrow(network, spatial_dims)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    disc = (rows**2 + columns**2 < 0.4).long()
    disc = disc[None] if spatial_dims == 2 else disc[None, :, :, None].expand(-1, -1, -1, 16)
    x = disc[:, None].float() + 0.1 * torch.randn(1, 1, *disc.shape[1:])
    share = disc.float().mean()
    blind = -(share * share.log() + (1 - share) * (1 - share).log())  # the best loss of equal logits everywhere
    # FCN-8s has no batch norm that evens out large steps.
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003 if network is FCN8s else 0.01)
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(x), disc)
        if loss < 0.7 * blind:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.7 * blind


@of_each
@in_both
def test_bfloat16_trains_with_finite_gradients(network, spatial_dims):
    net = narrow(network, spatial_dims)
    logits = AutocastInferer(SimpleInferer())(torch.randn(1, 1, *(32,) * spatial_dims), net)
    loss = logits.square().mean()
    loss.backward()
    assert logits.dtype == torch.float32
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@of_each
@in_both
def test_channels_last_gives_the_same_logits(network, spatial_dims, alive):
    layout = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
    x = torch.randn(2, 1, *(32,) * spatial_dims)
    net = alive(narrow(network, spatial_dims), x)
    with torch.no_grad():
        contiguous = net(x)
        channels_last = net.to(memory_format=layout)(x.to(memory_format=layout))
    # Rounding of other summation orders, which batch norms over a few values at 1/16 enlarge.
    torch.testing.assert_close(channels_last, contiguous, rtol=0, atol=2e-3)


# MONAI's U-Nets ask torch.jit something in their forward, which torch.compile runs outside the graph.
@pytest.mark.parametrize("network", [SegNet, FCN8s, DeepLabV3Plus])
def test_the_graph_has_no_breaks_to_compile_around(nets, network):
    x = torch.randn(1, 1, 20, 32)
    with torch.no_grad():
        compiled: Callable[[Tensor], Tensor] = torch.compile(nets[network, 2], backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), nets[network, 2](x))


@of_each
def test_the_same_seed_gives_the_same_weights(network):
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        states.append(narrow(network, 2).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@of_each
@in_both
def test_state_dict_keys_say_where_a_weight_belongs(nets, network, spatial_dims):
    assert KEYS[network] <= nets[network, spatial_dims].state_dict().keys()
