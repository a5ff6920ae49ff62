"""Winograd's convolution is the convolution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from biomedjourney_monai.networks.fast_path import PackedConvolution, PackedLinear, can_pack
from biomedjourney_monai.networks.winograd import WinogradConvolution, can_use_winograd, pays_off


def plain_linear(matrix):
    linear = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    linear.weight.data = matrix
    return linear


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 11), st.integers(1, 11)),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
@torch.no_grad()
def test_it_is_the_same_convolution_at_any_size(sizes, bias, seed):
    batch, channels, out, height, width = sizes
    torch.manual_seed(seed)
    convolution = nn.Conv2d(channels, out, 3, padding=1, bias=bias).double()
    x = torch.randn(batch, channels, height, width, dtype=torch.float64).to(memory_format=torch.channels_last)
    winograd = WinogradConvolution(convolution.weight, convolution.bias, linear=plain_linear)
    torch.testing.assert_close(winograd(x), convolution(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "other",
    [{"kernel_size": 1, "padding": 0}, {"stride": 2}, {"padding": 0}, {"dilation": 2, "padding": 2}, {"groups": 2}],
)
def test_other_convolutions_are_told_apart(other):
    assert can_use_winograd(nn.Conv2d(4, 4, 3, padding=1))
    assert not can_use_winograd(nn.Conv2d(4, 4, **{"kernel_size": 3, "padding": 1, **other}))


@pytest.mark.parametrize(
    ("shape", "out", "dtype", "expected"),
    [
        ((3, 320, 32, 32), 640, torch.float32, True),
        ((3, 320, 32, 32), 640, torch.bfloat16, False),
        ((3, 1280, 4, 4), 1280, torch.float32, True),
        ((1, 1280, 4, 4), 1280, torch.float32, False),
        ((3, 224, 32, 32), 640, torch.float32, False),
        ((3, 640, 32, 32), 96, torch.float32, False),
    ],
)
def test_it_is_used_in_float32_on_large_inputs(shape, out, dtype, expected):
    assert pays_off(torch.empty(shape, dtype=dtype, device="meta"), out) is expected


@pytest.mark.skipif(not can_pack(torch.float32), reason="this build of torch has no oneDNN")
@torch.no_grad()
def test_a_packed_convolution_becomes_one_at_its_first_use_and_frees_its_weight():
    convolution = nn.Conv2d(320, 330, 3, padding=1)
    x = torch.randn(2, 320, 16, 16).to(memory_format=torch.channels_last)
    expected, packed = convolution(x), PackedConvolution(convolution)
    torch.testing.assert_close(packed(x), expected, rtol=1e-4, atol=1e-5)
    assert packed.winograd is not None
    assert packed.weight is None
    assert all(isinstance(product, PackedLinear) and product.weight is None for product in packed.winograd.products)
    torch.testing.assert_close(packed(x[:1, :, :7, :9]), convolution(x[:1, :, :7, :9]), rtol=1e-4, atol=1e-5)
