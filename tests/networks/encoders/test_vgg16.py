import pytest
import torch

from radseg.networks.encoders import VGG16


def test_the_taps_are_the_ends_of_blocks_2_to_5_and_the_last_pool():
    encoder = VGG16().eval()
    ends = []
    for block in (encoder.block2, encoder.block3, encoder.block4, encoder.block5):
        block.register_forward_hook(lambda _, __, output: ends.append(output))
    with torch.no_grad():
        *skips, bottom = encoder(torch.randn(1, 3, 32, 64))
    assert all(skip is end for skip, end in zip(skips, ends, strict=True))
    torch.testing.assert_close(bottom, skips[-1].unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)))


def test_fourteen_million_weights_in_thirteen_convolutions_with_bias():
    with torch.device("meta"):
        encoder = VGG16()
    assert sum(p.numel() for p in encoder.parameters()) == 14_714_688
    assert len(list(encoder.parameters())) == 26
    assert {"block1.conv1.weight", "block2.conv2.bias", "block5.conv3.weight"} < encoder.state_dict().keys()


def test_a_fresh_network_neither_loses_nor_blows_up_the_signal():
    with torch.no_grad():
        features = VGG16().eval()(torch.randn(1, 3, 64, 64))
    assert all(0.3 < f.std() < 10 for f in features)


def test_both_forms_are_the_same_network():
    keras, torchvision = VGG16(1).eval(), VGG16(1, padding="torch").eval()
    torchvision.load_state_dict(keras.state_dict())
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(keras(x), torchvision(x), strict=True))


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="padding: unknown name 'kers'; did you mean 'keras'"):
        VGG16(padding="kers")
