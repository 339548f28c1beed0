import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from radseg.networks.encoders.same_padding import (
    Convention,
    SameConv2d,
    SameConvBN,
    SameMaxPool2d,
    choose_convention,
    pad_same,
    same_padding,
)

SIZES = st.integers(1, 12)
KERNELS = st.integers(1, 7)
STRIDES = st.integers(1, 4)


def windows(size: int, kernel: int, stride: int) -> list[range]:
    """Pixels inside the image that each output sees, written out from the definition of "same"."""
    outputs = math.ceil(size / stride)
    overhang = max((outputs - 1) * stride + kernel - size, 0)
    starts = [number * stride - overhang // 2 for number in range(outputs)]
    return [range(max(start, 0), min(start + kernel, size)) for start in starts]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before_and_after"),
    [
        (224, 3, 2, (0, 1)),
        (225, 3, 2, (1, 1)),
        (224, 5, 2, (1, 2)),
        (75, 5, 2, (2, 2)),
        (224, 7, 2, (2, 3)),
        (14, 3, 1, (1, 1)),
        (14, 7, 1, (3, 3)),
        (14, 2, 1, (0, 1)),
        (14, 4, 1, (1, 2)),
        (14, 1, 2, (0, 0)),
        (14, 2, 2, (0, 0)),
        (15, 2, 2, (0, 1)),
        (1, 3, 2, (1, 1)),
        (2, 5, 2, (1, 2)),
        (7, 2, 3, (0, 1)),
    ],
)
def test_padding_is_what_keras_adds(size, kernel, stride, before_and_after):
    assert same_padding(size, kernel, stride) == before_and_after


@given(size=st.integers(1, 500), kernel=st.integers(1, 12), stride=st.integers(1, 8))
def test_any_size_kernel_and_stride_give_the_rounded_up_quotient(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert 0 <= before <= after <= before + 1
    assert before < kernel
    padded = size + before + after
    assert padded >= kernel or before == after == 0
    # A kernel smaller than its stride leaves pixels at the end unseen, and nothing is added for them.
    assert (padded - kernel) // stride + 1 == math.ceil(size / stride)


def test_nothing_to_add_copies_nothing():
    x = torch.zeros(1, 1, 4, 6)
    assert pad_same(x, (2, 1), (2, 1)) is x


def test_the_odd_row_and_column_come_last():
    x = torch.ones(1, 1, 2, 4)
    padded = pad_same(x, (3, 5), (2, 2), value=-7.0)
    assert padded[0, 0].tolist() == [[-7, 1, 1, 1, 1, -7, -7]] * 2 + [[-7] * 7]


def test_a_strided_convolution_by_hand():
    conv = SameConv2d(1, 1, 3, stride=2)
    with torch.no_grad():
        conv.weight.copy_(torch.arange(1.0, 10).reshape(1, 1, 3, 3))
        out = conv(torch.arange(1.0, 17).reshape(1, 1, 4, 4))
    # Row by row: full 3×3 window at (0, 0), last column missing at (0, 2), last row missing at (2, 0), both at (2, 2).
    assert out[0, 0].tolist() == [[348.0, 252.0], [274.0, 175.0]]


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(SIZES, SIZES), kernel=st.tuples(KERNELS, KERNELS), stride=STRIDES)
def test_a_convolution_sums_its_window_and_zeros_outside(size, kernel, stride):
    conv = SameConv2d(2, 3, kernel, stride)
    x = torch.randn(1, 2, *size)
    with torch.no_grad():
        out = conv(x)
        whole = torch.zeros(1, 2, size[0] + 2 * kernel[0], size[1] + 2 * kernel[1])
        whole[:, :, kernel[0] : -kernel[0], kernel[1] : -kernel[1]] = x
        tops, lefts = (
            [kernel[axis] + number * stride - same_padding(size[axis], kernel[axis], stride)[0] for number in range(n)]
            for axis, n in enumerate(math.ceil(s / stride) for s in size)
        )
        expected = torch.stack(
            [
                torch.stack(
                    [
                        (whole[:, :, top : top + kernel[0], left : left + kernel[1]] * conv.weight).sum((1, 2, 3))
                        for left in lefts
                    ],
                    dim=-1,
                )
                for top in tops
            ],
            dim=-2,
        )
    torch.testing.assert_close(out[0], expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(SIZES, SIZES), kernel=KERNELS, stride=STRIDES)
def test_pooling_sees_only_pixels_of_the_image(size, kernel, stride):
    x = torch.randn(1, 2, *size) - 5  # negative: a zero from the padding would win
    rows, columns = (windows(length, kernel, stride) for length in size)

    cells = [[x[:, :, r.start : r.stop, c.start : c.stop].amax((2, 3)) for c in columns] for r in rows]
    expected = torch.stack([torch.stack(line, dim=-1) for line in cells], dim=-2)
    assert torch.equal(SameMaxPool2d(kernel, stride)(x), expected)


def test_torch_padding_is_symmetric():
    shape = torch.zeros(1, 2, 8, 10)
    conv = SameConv2d(2, 2, (3, 5), stride=2, groups=2, padding="torch")
    plain = nn.Conv2d(2, 2, (3, 5), stride=2, padding=(1, 2), groups=2, bias=False)
    plain.load_state_dict(conv.state_dict())
    x = torch.randn_like(shape)
    with torch.no_grad():
        assert torch.equal(conv(x), plain(x))
        assert not torch.allclose(SameConv2d(2, 2, (3, 5), stride=2, groups=2)(x), plain(x))


def test_both_conventions_are_one_for_odd_kernels_of_stride_1():
    keras, torch_like = SameConv2d(1, 2, (1, 7)), SameConv2d(1, 2, (1, 7), padding="torch")
    torch_like.load_state_dict(keras.state_dict())
    x = torch.randn(1, 1, 5, 6)
    with torch.no_grad():
        assert torch.equal(keras(x), torch_like(x))


def test_a_convolution_has_the_weights_of_a_plain_one():
    assert list(SameConv2d(4, 8, 3, 2, 2).state_dict()) == ["weight"]
    assert SameConv2d(4, 8, 3, 2, 2).weight.shape == (8, 2, 3, 3)


def test_batch_norm_has_the_convention_of_the_weights():
    layer = SameConvBN(3, 4, 3, Convention("torch", bn_eps=1e-5, bn_momentum=0.1), stride=2)
    assert (layer.bn.eps, layer.bn.momentum, layer.conv.padding) == (1e-5, 0.1, (1, 1))
    assert layer(torch.randn(2, 3, 7, 8)).shape == (2, 4, 4, 4)


def test_a_convention_is_chosen_by_name():
    keras, torch_like = Convention("keras", 1e-3, 0.01), Convention("torch", 1e-5, 0.1)
    assert choose_convention("torch", keras, torch_like) is torch_like
    with pytest.raises(ValueError, match="padding must be 'keras' or 'torch', got 'valid'"):
        choose_convention("valid", keras, torch_like)
