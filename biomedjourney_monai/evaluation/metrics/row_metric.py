"""Bases of the MONAI metrics here, which gather rows over batches, and of their Ignite handlers."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric
from torch import Tensor


class RowMetric(CumulativeIterationMetric):
    """A metric of all rows: `rows_of` gives those of a batch, `aggregate` computes the number from `rows()`."""

    def rows_of(self, y_pred: Tensor, y: Tensor) -> Tensor:
        """The rows of a batch, shape (B, ...)."""
        raise NotImplementedError

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        if y is None:
            raise ValueError("a metric must be given y; found None.")
        return self.rows_of(y_pred, y)

    def rows(self) -> np.ndarray:
        """The rows of every batch, float64.

        Raises:
            ValueError: if there was no batch.
        """
        buffer = self.get_buffer()
        if not isinstance(buffer, Tensor):
            raise ValueError("a metric must see at least one batch before it is computed; found none.")
        return buffer.detach().cpu().double().numpy()


class RowMetricHandler(IgniteMetricHandler):
    """Handler of the class's `metric`, for `key_val_metric` and `additional_metrics` of a MONAI evaluator.

    Args:
        output_transform: from the engine's output to (y_pred, y) of the metric.
        settings: arguments of the metric.
    """

    metric: ClassVar[type[RowMetric]]

    def __init__(self, *, output_transform: Callable[..., Any] = lambda output: output, **settings: Any) -> None:
        super().__init__(metric_fn=self.metric(**settings), output_transform=output_transform, save_details=False)


def known_mean(values: np.ndarray) -> float:
    """The mean of the finite values; NaN if there is none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
