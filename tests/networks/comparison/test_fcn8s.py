import pytest
import torch
from torch.nn import functional as F

from radseg.networks.comparison import FCN8s
from radseg.networks.comparison.fcn8s import linear_doubling
from radseg.networks.encoders import VGG16

NARROW = (8, 8, 8, 16, 16, 32)
LINEAR = {2: "bilinear", 3: "trilinear"}


def test_parameter_count_is_the_papers():
    with torch.device("meta"):
        net = FCN8s(2, 3, 21)
    vgg16_convolutions = 14_714_688
    conv6, conv7 = 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096
    assert vgg16_convolutions + conv6 + conv7 == 134_260_544  # Table 1: 134 M
    scores = (4096 + 1) * 21 + (512 + 1) * 21 + (256 + 1) * 21
    doublings = 2 * 4 * 4 * 21 * 21
    assert sum(p.numel() for p in net.parameters()) == 134_260_544 + scores + doublings


def test_parameter_count_in_3d():
    with torch.device("meta"):
        net = FCN8s(3, 1, 3, (16, 32, 64, 128, 128, 256))
    pairs = [(1, 16), (16, 16), (16, 32), (32, 32), (32, 64), *[(64, 64)] * 2, (64, 128), *[(128, 128)] * 5, (128, 256)]
    three = sum((27 * before + 1) * width for before, width in pairs)
    one = (256 + 1) * 256 + (256 + 1) * 3 + (128 + 1) * 3 + (64 + 1) * 3
    assert sum(p.numel() for p in net.parameters()) == three + one + 2 * 4**3 * 3 * 3


def test_the_encoder_is_the_vgg16_that_imagenet_weights_fit():
    net, vgg16 = FCN8s(2, 3, 1, (64, 128, 256, 512, 512, 8)), VGG16(3)
    net.encoder.load_state_dict(vgg16.state_dict())
    x = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(net.encoder(x)[-1], vgg16(x)[-1])


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_doubling_starts_as_linear_interpolation(spatial_dims):
    x = torch.randn(1, 3, *(5, 7, 6)[:spatial_dims])
    with torch.no_grad():
        doubled = linear_doubling(spatial_dims, 3)(x)
    expected = F.interpolate(x, scale_factor=2.0, mode=LINEAR[spatial_dims], align_corners=False)
    inside = (..., *[slice(1, -1)] * spatial_dims)  # at the border a transposed convolution sees zeros beyond it
    torch.testing.assert_close(doubled[inside], expected[inside])


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_fresh_network_enlarges_its_three_scores_linearly_and_adds_them(spatial_dims):
    net = FCN8s(spatial_dims, 1, 2, NARROW).eval()
    scores = {}
    for name in ("score_conv7", "score_pool4", "score_pool3"):
        net.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: scores.update({name: y}))
    size = (64,) * spatial_dims
    with torch.no_grad():
        logits = net(torch.randn(1, 1, *size))
        fused = net.double_conv7(scores["score_conv7"]) + scores["score_pool4"]
        fused = net.double_pool4(fused) + scores["score_pool3"]
    assert [scores[name].shape[-1] for name in ("score_conv7", "score_pool4", "score_pool3")] == [2, 4, 8]
    expected = F.interpolate(fused, size=size, mode=LINEAR[spatial_dims], align_corners=False)
    torch.testing.assert_close(logits, expected)


def test_a_fresh_network_neither_loses_nor_blows_up_the_signal():
    net = FCN8s(2, 1, 2, (16, 32, 64, 128, 128, 256)).eval()
    with torch.no_grad():
        assert 0.1 < net(torch.randn(1, 1, 64, 64)).std() < 10


def test_dropout_works_in_training_and_rests_in_evaluation():
    net = FCN8s(2, 1, 2, NARROW)
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert not torch.equal(net(x), net(x))
        net.eval()
        assert torch.equal(net(x), net(x))
    with pytest.raises(ValueError, match="dropout must be at least 0 and less than 1"):
        FCN8s(2, 1, 2, NARROW, dropout=1.0)


def test_one_training_image_of_one_pixel_is_enough():
    assert FCN8s(2, 1, 1, NARROW)(torch.ones(1, 1, 1, 1)).isfinite().all()
