import torch
from hypothesis import given
from hypothesis import strategies as st

from radseg.networks.padding import crop_to_size, pad_to_multiple


@given(size=st.lists(st.integers(1, 20), min_size=2, max_size=3), multiple=st.integers(1, 16))
def test_padding_fills_with_the_edge_and_cropping_undoes_it(size, multiple):
    x = torch.randn(1, 2, *size)
    padded = pad_to_multiple(x, multiple)
    for short, long in zip(size, padded.shape[2:], strict=True):
        assert long % multiple == 0
        assert 0 <= long - short < multiple
    expected = x
    for axis, long in enumerate(padded.shape[2:], start=2):
        index = torch.arange(long).clamp(max=x.shape[axis] - 1)
        expected = expected.index_select(axis, index)
    assert torch.equal(padded, expected)
    assert torch.equal(crop_to_size(padded, size), x)


def test_a_size_that_fits_is_not_copied():
    x = torch.zeros(1, 1, 32, 16)
    assert pad_to_multiple(x, 16) is x
    assert crop_to_size(x, (32, 16)) is x
