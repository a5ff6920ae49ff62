"""A 3 × 3 convolution by Winograd's minimal filtering: 16 products where the direct method needs 36."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

KERNEL = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
"""Transforms three taps of a kernel to four. The transforms of data and result are the sums and differences below."""

LEAST_CHANNELS, LEAST_PIXELS = 320, 32
"""Measured by scripts/benchmarks/winograd.py: with 128 to 224 channels the method takes 1.7 times as long."""


class WinogradConvolution(nn.Module):
    """A convolution of 3 × 3, stride 1 and padding 1, over tiles of 2 × 2 pixels.

    Each tile of the result needs 4 × 4 pixels of the input. After a linear transform the convolution is 16 separate
    matrix products over the channels, with 2.25 times fewer multiplications; the transforms are cheap if there are many
    channels. The result is the same but for rounding, which is larger in reduced precision.

    Args:
        weight: shape (out, in, 3, 3).
        bias: shape (out,), or None.
        linear: makes a map of (..., in) to (..., out) from each of the 16 matrices, shape (out, in).

    Source: Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks, F(2 × 2, 3 × 3).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, linear: Callable[[Tensor], nn.Module]) -> None:
        super().__init__()
        kernel = KERNEL.to(weight.device)
        taps = torch.einsum("ai,ocij,bj->aboc", kernel, weight.detach().double(), kernel).flatten(0, 1)
        self.products = nn.ModuleList(linear(matrix.to(weight.dtype)) for matrix in taps)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, in, H, W) to (B, out, H, W), both channels last in memory."""
        height, width = x.shape[-2:]
        padded = pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1 + width % 2, 1, 1 + height % 2))  # (B, H + 2, W + 2, in)
        columns = []
        for number, line in enumerate(_differences(padded, dim=1)):
            products = self.products[4 * number : 4 * number + 4]
            columns.append(_sums([product(tile) for product, tile in zip(products, _differences(line, dim=2))]))
        parts = [_sums([column[place] for column in columns]) for place in (0, 1)]
        batch, rows, across, channels = parts[0][0].shape
        result = x.new_empty((batch, rows, 2, across, 2, channels))
        for place, pair in enumerate(parts):
            for row, part in enumerate(pair):
                target = result[:, :, row, :, place]
                target.copy_(part) if self.bias is None else torch.add(part, self.bias, out=target)
        result = result.view(batch, 2 * rows, 2 * across, channels)[:, :height, :width]
        return result.permute(0, 3, 1, 2)


def can_use_winograd(convolution: nn.Conv2d) -> bool:
    """Whether `WinogradConvolution` can compute a convolution."""
    ones = tuple(convolution.stride), tuple(convolution.padding), tuple(convolution.dilation), (convolution.groups,) * 2
    return tuple(convolution.kernel_size) == (3, 3) and set(ones) == {(1, 1)}


def pays_off(x: Tensor, out_channels: int) -> bool:
    """Whether an input, shape (B, C, H, W), is large enough for the transforms to cost less than they save.

    The shape decides, not a measurement, so that a command repeats its bytes; in reduced precision little is gained.
    """
    channels = min(x.shape[1], out_channels)
    return x.dtype == torch.float32 and channels >= LEAST_CHANNELS and x.numel() // x.shape[1] >= LEAST_PIXELS


def _differences(padded: Tensor, *, dim: int) -> list[Tensor]:
    """The four differences of overlapping groups of four along a dimension, which are multiplied."""
    steps = [padded.narrow(dim, start, padded.shape[dim] - 3).unfold(dim, 1, 2).squeeze(-1) for start in range(4)]
    first, second, third, fourth = steps
    return [first - third, second + third, third - second, second - fourth]


def _sums(products: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The two results of a tile along a dimension, from its four products."""
    first, second, third, fourth = products
    return (second + third).add_(first), (second - third).sub_(fourth)
