"""Pearson's r of the judge's age, with row weights for bootstrap replicates."""

import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.evaluation.metrics.measure import PAPER, Measure, Scored
from biomedjourney_monai.evaluation.metrics.row_metric import RowMetric, RowMetricHandler
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, Statistics, count_known, noted, replicate_by_block

AGE_COLUMN = "age"


def compute_pearson_r(
    predicted: np.ndarray, actual: np.ndarray, *, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Compute the correlation of two columns.

    Args:
        predicted: shape (N,), e.g. the judge's age in years. Rows with NaN are left out.
        actual: shape (N,), e.g. the anchor age. Rows with NaN are left out.
        weights: shape (R, N), >= 0: how often each replicate holds each row. Without weights: once.

    Returns:
        A float in [-1, 1], or shape (R,) with weights; NaN where a column is constant or fewer than 2 rows are known.
    """
    predicted, actual = np.asarray(predicted, np.float64), np.asarray(actual, np.float64)
    if predicted.shape != actual.shape or predicted.ndim != 1:
        raise ValueError(f"the columns must be of one shape (N,); found {predicted.shape} and {actual.shape}.")
    known = np.isfinite(predicted) & np.isfinite(actual)
    rows = np.ones((1, len(actual))) if weights is None else np.asarray(weights)
    r = replicate_by_block(lambda block: _weighted_r(predicted[known], actual[known], block), rows, known)
    return float(r[0]) if weights is None else r


def _weighted_r(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,), (N,), (R, N) -> (R,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = weights / weights.sum(axis=1, keepdims=True)
        x = x - (weights @ x)[:, None]  # (R, N), centred in each replicate
        y = y - (weights @ y)[:, None]
        covariance = (weights * x * y).sum(axis=1)
        spread = np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))
        r = np.where(spread > 1e-12, covariance / spread, np.nan)
    return np.clip(r, -1, 1)


class PearsonRMetric(RowMetric):
    """Pearson's r; `y_pred` and `y` are of shape (B,), NaN for left out."""

    def rows_of(self, y_pred: Tensor, y: Tensor) -> Tensor:
        return torch.stack([y_pred.float(), y.float()], dim=1)  # (B, 2)

    def aggregate(self) -> Tensor:
        rows = self.rows()
        return torch.tensor(compute_pearson_r(rows[:, 0], rows[:, 1]))


class PearsonR(RowMetricHandler):
    """Ignite handler of `PearsonRMetric`."""

    metric = PearsonRMetric


def _of_age(scored: Scored) -> Statistics:
    age, truth = scored.scores[AGE_COLUMN].to_numpy(), scored.labels().age
    r = compute_pearson_r(age, truth, weights=scored.weights)
    return {OVERALL: noted(r, count_known(age, truth), "constant age")}


AGE_R = Measure(
    key="age_r",
    title="Age retained",
    meaning="A network estimates the age from the picture; the number is its correlation with the patient's age"
    " (Pearson's r). 0 means that age is lost, 1 that it is fully kept.",
    compute=_of_age,
    section=PAPER,
    chance=0.0,
    headline=True,
    in_differences=True,
    terminal="age r",
    ablation="age r",
    paper="age r",
    tuning={"overall": "age r"},
)
