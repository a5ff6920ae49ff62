"""PSNR and SSIM of an image against the true one, over the frame or within a region."""

import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor
from torch.nn.functional import pad

LEAST_SQUARED_ERROR = 1 / (12 * 255**2)
"""The error of rounding to 8 bits, in units of the image's range: no PSNR here is above 58.9 dB."""

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5


def compute_region_psnr(images: Tensor, truth: Tensor, *, region: Tensor | None = None) -> Tensor:
    """Compute the peak signal-to-noise ratio, 10 log10(1 / mean squared error), within a region.

    Args:
        images: shape (B, 1, H, W), in [0, 1].
        truth: same shape.
        region: bool, same shape; None for the whole frame.

    Returns:
        dB, shape (B,), at most 58.9; NaN where the region is empty.

    Raises:
        ValueError: if the shapes differ.
    """
    _require_one_shape(images, truth, region)
    error = region_mean((images - truth).double() ** 2, region)
    return -10 * torch.log10(error.clamp_min(LEAST_SQUARED_ERROR))


def compute_region_ssim(images: Tensor, truth: Tensor, *, region: Tensor | None = None) -> Tensor:
    """Compute the structural similarity, averaged over the windows whose centre lies within a region.

    Windows are Gaussian, 11 pixels wide with sigma 1.5, and lie within the frame.

    Args:
        images: shape (B, 1, H, W), in [0, 1], at least 11 pixels on each side.
        truth: same shape.
        region: bool, same shape; None for the whole frame.

    Returns:
        Shape (B,), at most 1; NaN where no window's centre lies in the region.

    Raises:
        ValueError: if the shapes differ.

    Source: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity.
    """
    _require_one_shape(images, truth, region)
    size, sigma = [SSIM_WINDOW] * 2, [SSIM_SIGMA] * 2
    values, _ = compute_ssim_and_cs(images.float(), truth.float(), 2, size, sigma)
    margin = SSIM_WINDOW // 2
    inner = None if region is None else pad(region, [-margin] * 4)
    return region_mean(values, inner)


def region_mean(values: Tensor, region: Tensor | None) -> Tensor:
    """Average (B, 1, H, W) over a region of each image: shape (B,); NaN where the region is empty."""
    if region is None:
        return values.mean(dim=(1, 2, 3))
    inside = region.sum(dim=(1, 2, 3))
    total = torch.where(region, values, torch.zeros((), dtype=values.dtype)).sum(dim=(1, 2, 3))
    return torch.where(inside > 0, total / inside.clamp_min(1), torch.nan)


def _require_one_shape(images: Tensor, truth: Tensor, region: Tensor | None) -> None:
    shapes = {tuple(tensor.shape) for tensor in (images, truth, region) if tensor is not None}
    if len(shapes) > 1 or images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"the tensors must be of one shape (B, 1, H, W); found {sorted(shapes)}.")
