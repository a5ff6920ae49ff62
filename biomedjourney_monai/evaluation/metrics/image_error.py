"""PSNR and SSIM of an image against the true one, over the frame or within a region."""

from __future__ import annotations

import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor
from torch.nn.functional import pad

from biomedjourney_monai.evaluation.metrics.row_metric import RowMetric, RowMetricHandler

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


class RegionErrorMetric(RowMetric):
    """Mean PSNR in dB, or SSIM, within a region.

    `y_pred` holds the images, shape (B, 1, H, W); `y` the truth and the region, 1 within and 0 outside, shape
    (B, 2, H, W), or the truth alone, (B, 1, H, W), for the whole frame. Images whose region is empty are left out.

    Args:
        kind: "psnr" or "ssim".
    """

    def __init__(self, kind: str = "psnr") -> None:
        super().__init__()
        if kind not in ("psnr", "ssim"):
            raise ValueError(f"kind must be 'psnr' or 'ssim'; found {kind!r}.")
        self.compute = compute_region_psnr if kind == "psnr" else compute_region_ssim

    def rows_of(self, y_pred: Tensor, y: Tensor) -> Tensor:
        region = y[:, 1:] > 0.5 if y.shape[1] == 2 else None
        return self.compute(y_pred, y[:, :1], region=region)[:, None].double()  # (B, 1)

    def aggregate(self) -> Tensor:
        return torch.nanmean(torch.from_numpy(self.rows()))


class RegionError(RowMetricHandler):
    """Ignite handler of `RegionErrorMetric`."""

    metric = RegionErrorMetric
