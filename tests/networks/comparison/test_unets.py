import pytest
import torch
from monai.networks.nets import BasicUNet, BasicUNetPlusPlus

from radseg.networks.comparison import UNet, UNetPlusPlus

NARROW = (4, 4, 8, 16, 32, 4)
in_both = pytest.mark.parametrize("spatial_dims", [2, 3])


@in_both
@pytest.mark.parametrize(("network", "monai"), [(UNet, BasicUNet), (UNetPlusPlus, BasicUNetPlusPlus)])
def test_it_is_monais_network_as_one_tensor(network, monai, spatial_dims):
    """Also what is left out, biases before an instance norm and unread heads, changes nothing."""
    theirs = monai(spatial_dims, 1, 3, NARROW).eval()
    ours = network(spatial_dims, 1, 3, NARROW).eval()
    missing, unexpected = ours.net.load_state_dict(theirs.state_dict(), strict=False)
    assert not missing
    assert all(key.endswith("conv.bias") or key.startswith("final_conv_0_") for key in unexpected)
    x = torch.randn(2, 1, *(48, 32, 32)[:spatial_dims])
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected[-1] if isinstance(expected, list) else expected)


@pytest.mark.parametrize(("network", "monai"), [(UNet, BasicUNet), (UNetPlusPlus, BasicUNetPlusPlus)])
def test_every_parameter_is_monais_but_for_cancelled_biases_and_unread_heads(network, monai):
    with torch.device("meta"):
        theirs, ours = monai(2, 1, 3), network(2, 1, 3)
    left_out = sum(
        p.numel()
        for name, p in theirs.named_parameters()
        if name.endswith(("conv_0.conv.bias", "conv_1.conv.bias"))
        or name.startswith(("final_conv_0_1", "final_conv_0_2", "final_conv_0_3"))
    )
    assert left_out > 0
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) - left_out


@in_both
@pytest.mark.parametrize("network", [UNet, UNetPlusPlus])
@pytest.mark.parametrize("training", [True, False])
def test_an_image_of_at_most_16_pixels_has_a_variance_too(network, spatial_dims, training):
    x = torch.randn(1, 1, *(16, 9, 16)[:spatial_dims])
    logits = network(spatial_dims, 1, 2, NARROW).train(training)(x)
    assert logits.shape == (1, 2, *x.shape[2:])
    assert logits.isfinite().all()
