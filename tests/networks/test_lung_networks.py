"""What the three lung-field networks promise alike."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from radseg.networks.lung_blocks import Convolution, Deconvolution, LungNetwork
from radseg.networks.lung_deeplab import LungDeepLab
from radseg.networks.lung_fcnn import LungFCNN
from radseg.networks.lung_unet import LungUNet

NETWORKS = (LungUNet, LungFCNN, LungDeepLab)
of_each = pytest.mark.parametrize("network", NETWORKS)


@pytest.fixture(scope="module")
def narrow() -> dict[type[LungNetwork], LungNetwork]:
    torch.manual_seed(0)
    return {network: network(features=4).eval() for network in NETWORKS}


@of_each
@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 50), width=st.integers(1, 50))
def test_any_image_size_comes_back_at_its_size(narrow, network, height, width):
    with torch.no_grad():
        logits = narrow[network](torch.randn(1, 1, height, width))
    assert logits.shape == (1, 1, height, width)
    assert logits.isfinite().all()


@of_each
def test_an_odd_size_is_segmented_as_if_the_edge_went_on(network, alive):
    net = alive(network(features=4, dropout=0.0), torch.randn(2, 1, 48, 48))
    x = torch.randn(1, 1, 27, 32)
    continued = torch.cat([x, x[:, :, -1:].expand(-1, -1, -27 % network.stride, -1)], dim=2)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(continued)[:, :, :27])


@of_each
@pytest.mark.parametrize("batch_norm", [True, False])
def test_channels_in_and_out_are_as_asked(network, batch_norm):
    net = network(3, 2, features=4, batch_norm=batch_norm).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 20, 20)).shape == (1, 2, 20, 20)


@of_each
def test_output_is_logits_not_probabilities(network, alive):
    x = torch.randn(2, 1, 32, 32)
    net = alive(network(features=4), x)
    with torch.no_grad():
        nn.init.constant_(net.output.bias, -5.0)
        assert net(x).min() < -1


@of_each
def test_without_batch_norm_every_convolution_has_a_bias(network):
    net = network(features=4, batch_norm=False)
    assert not [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(module.bias is not None for module in net.modules() if isinstance(module, nn.Conv2d))


@of_each
def test_with_batch_norm_only_the_output_and_the_transposed_convolutions_have_a_bias(network):
    net = network(features=4)
    plain = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m is not net.output]
    assert all(module.bias is None for module in plain)
    assert all(module.bias is not None for module in net.modules() if isinstance(module, nn.ConvTranspose2d))
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == len(plain)
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@of_each
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"out_channels": 1.0}, "out_channels must be an integer"),
        ({"features": (16, 32)}, "features must be an integer of at least 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1"),
        ({"batch_norm": "false"}, "batch_norm must be true or false, got 'false'"),
    ],
)
def test_wrong_arguments_are_refused_when_built(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)


@of_each
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 3, 16, 16), (1, 1, 16, 16, 16)])
def test_an_image_of_another_shape_is_refused_with_the_expected_one(narrow, network, shape):
    expected = rf"{network.__name__} takes images of shape \(batch, 1, height, width\), got"
    with pytest.raises(ValueError, match=expected):
        narrow[network](torch.zeros(shape))


@of_each
def test_one_training_image_of_one_coarse_pixel_is_refused_only_with_batch_norm(network):
    x = torch.zeros(1, 1, network.stride, network.stride)
    with pytest.raises(ValueError, match=f"at least 2 images or more than {network.stride} pixels"):
        network(features=4)(x)
    assert network(features=4, batch_norm=False)(x).shape == x.shape


@of_each
@pytest.mark.parametrize("batch_norm", [True, False])
def test_one_image_of_32_a_side_trains_and_gradients_reach_every_parameter(network, batch_norm):
    torch.manual_seed(0)
    net = network(features=4, batch_norm=batch_norm)
    net(torch.randn(1, 1, 32, 32)).sigmoid().mean().backward()
    dead = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()}
    assert dead == set()
    assert sum(bool(p.grad.any()) for p in net.parameters()) == len([*net.parameters()])


@of_each
def test_dropout_works_in_training_and_rests_in_evaluation(network):
    x = torch.randn(2, 1, 32, 32)
    net = network(features=4, dropout=0.5, batch_norm=False)
    with torch.no_grad():
        assert not torch.equal(net(x), net(x))
        net.eval()
        assert torch.equal(net(x), net(x))


@of_each
def test_dropout_lies_where_the_paper_puts_it(network):
    """Once after every pool, and in the U-Net once more after every concatenation."""
    net = network(features=4).eval()
    calls = []
    net.dropout.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].shape[1]))
    with torch.no_grad():
        net(torch.zeros(1, 1, 32, 32))
    expected = {LungUNet: [4, 8, 16, 32, 64, 32, 16, 8], LungFCNN: [4, 8], LungDeepLab: [4, 8, 16]}
    assert calls == expected[network]


@of_each
def test_the_same_seed_gives_the_same_weights(network):
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        states.append(network(features=4).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["output.weight"], states[2]["output.weight"])


@of_each
def test_bfloat16_autocast_trains_with_a_finite_loss(network):
    net = network(features=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net(torch.randn(1, 1, 32, 32)).float().square().mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@of_each
def test_channels_last_gives_the_same_logits(network, alive):
    x = torch.randn(2, 2, 32, 48)
    net = alive(network(2, 2, features=4), x)
    with torch.no_grad():
        contiguous = net(x)
        channels_last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    # Rounding of other summation orders, which batch norms over a few values at 1/16 enlarge.
    torch.testing.assert_close(channels_last, contiguous, rtol=0, atol=2e-3)


@of_each
@pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated:FutureWarning")  # torch's own
def test_the_exported_program_gives_the_same_logits(network, alive):
    x = torch.randn(2, 1, 33, 40)
    net = alive(network(features=4), x)
    with torch.no_grad():
        net.output.weight.div_(net(x).std())  # agreement of near constants would prove little
        logits = net(x)
        torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), logits, rtol=1e-3, atol=1e-3)
    assert logits.std() > 0.5


@of_each
def test_the_graph_has_no_breaks_to_compile_around(narrow, network):
    x = torch.randn(1, 1, 20, 32)
    with torch.no_grad():
        compiled: Callable[[Tensor], Tensor] = torch.compile(narrow[network], backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), narrow[network](x))


def test_a_deconvolution_doubles_height_and_width():
    assert Deconvolution(2, 3)(torch.randn(1, 2, 5, 7)).shape == (1, 3, 10, 14)


@pytest.mark.parametrize("dilation", [1, 2, 8])
def test_a_dilated_convolution_keeps_the_image_size(dilation):
    y = Convolution(2, 3, batch_norm=True, dilation=dilation)(torch.randn(2, 2, 5, 4))
    assert y.shape == (2, 3, 5, 4)
    assert y.min() >= 0
