"""MONAI metrics over the functions beyond the paper's, and their Ignite handlers; FID is MONAI's own `FIDMetric`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from biomedjourney_monai.evaluation.metrics.feature_sets import compute_kid
from biomedjourney_monai.evaluation.metrics.image_error import compute_region_psnr, compute_region_ssim
from biomedjourney_monai.evaluation.metrics.severity import compute_concordance


class RegionErrorMetric(CumulativeIterationMetric):
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

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        region = y[:, 1:] > 0.5 if y.shape[1] == 2 else None
        return self.compute(y_pred, y[:, :1], region=region)[:, None].double()  # (B, 1)

    def aggregate(self) -> Tensor:
        return torch.nanmean(_rows(self))


class KIDMetric(CumulativeIterationMetric):
    """Kernel distance; `y_pred` and `y` hold features of images and of their references, shape (B, D) each."""

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        return torch.stack([y_pred.double(), y.double()], dim=1)  # (B, 2, D)

    def aggregate(self) -> Tensor:
        rows = _rows(self).numpy()
        return torch.tensor(compute_kid(rows[:, 0], rows[:, 1]))


class SeverityConcordanceMetric(CumulativeIterationMetric):
    """Mean concordance over findings.

    `y_pred` holds what is to rise with the severity, shape (B, F); `y` the severity that is asked for, 1 to 3, NaN for
    none. Findings of one severity alone are left out.
    """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        return torch.stack([y_pred.double(), y.double()], dim=-1)  # (B, F, 2)

    def aggregate(self) -> Tensor:
        rows = _rows(self).numpy()
        parts = [compute_concordance(rows[:, f, 0], rows[:, f, 1]) for f in range(rows.shape[1])]
        return torch.nanmean(torch.tensor(parts))


class RegionError(IgniteMetricHandler):
    """`RegionErrorMetric`; `output_transform` gives images, and the truth with its region or alone."""

    def __init__(self, kind: str = "psnr", output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=RegionErrorMetric(kind), output_transform=output_transform, save_details=False)


class KID(IgniteMetricHandler):
    """`KIDMetric`; `output_transform` gives the features of images and of their references."""

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=KIDMetric(), output_transform=output_transform, save_details=False)


class SeverityConcordance(IgniteMetricHandler):
    """`SeverityConcordanceMetric`; `output_transform` gives probabilities and the severities that were asked for."""

    def __init__(self, output_transform: Callable = lambda output: output) -> None:
        super().__init__(metric_fn=SeverityConcordanceMetric(), output_transform=output_transform, save_details=False)


def _rows(metric: CumulativeIterationMetric) -> Tensor:
    buffer = metric.get_buffer()
    if not isinstance(buffer, Tensor):
        raise ValueError("a metric must see at least one batch before it is computed; found none.")
    return buffer.detach().cpu().double()
